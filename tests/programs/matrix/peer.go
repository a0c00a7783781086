// A client for any server of HTTP: client HOST:PORT CA OFFER MAX, as client.py; and a server: server HOST:PORT
// CERTIFICATE TAKE MIN [CA], as server.js. hold: neither, until standard input ends.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	h2    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	http1 = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func main() {
	if os.Args[1] == "hold" {
		io.Copy(io.Discard, os.Stdin)
		return
	}
	role, address, file := os.Args[1], os.Args[2], os.Args[3]
	config := &tls.Config{ServerName: "localhost"}
	if os.Args[4] != "-" {
		config.NextProtos = strings.Split(os.Args[4], ",")
	}
	var err error
	if role == "server" {
		config.MinVersion = versions[os.Args[5]]
		err = serve(address, file, config)
	} else {
		config.MaxVersion = versions[os.Args[5]]
		err = talk(address, file, config)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool, err
}

func talk(address, ca string, config *tls.Config) (err error) {
	if config.RootCAs, err = authorities(ca); err != nil {
		return err
	}
	connection, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	state := connection.ConnectionState()
	greeting := http1
	if state.NegotiatedProtocol == "h2" {
		greeting = h2
	}
	if _, err := connection.Write([]byte(greeting)); err != nil {
		return err
	}
	if _, err := connection.Read(make([]byte, 1000)); err != nil {
		return err
	}
	fmt.Printf("ok %x %s\n", state.Version, state.NegotiatedProtocol)
	return nil
}

func serve(address, file string, config *tls.Config) error {
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	config.Certificates = []tls.Certificate{certificate}
	if len(os.Args) > 6 {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if config.ClientCAs, err = authorities(os.Args[6]); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	hello := http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, "hello") })
	return http.Serve(tls.NewListener(listener, config), hello)
}
