// One end of TLS: ADDRESS [name=value...].
//
// A client exchanges a line and leaves; it prints "ok VERSION" or "error TEXT". With role=server it
// answers lines in reverse until it is killed. "version" instead of an address: that of Go, "go1.26.8".
//
// With endless=1 it does so again and again, until standard input ends; with seconds=NUMBER that long.
//
// With count=NUMBER there are so many clients, parallel=NUMBER at a time: as in named.py.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

var curves = map[string]tls.CurveID{"P-256": tls.CurveP256, "X25519": tls.X25519}

var ciphers = map[string]uint16{
	"AES128": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"AES256": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
}

// A connection whose type nobody knows.
type wrapped struct{ net.Conn }

func main() {
	if os.Args[1] == "version" {
		fmt.Println(runtime.Version())
		return
	}
	options := map[string]string{}
	for _, argument := range os.Args[2:] {
		parts := strings.SplitN(argument, "=", 2)
		options[parts[0]] = parts[1]
	}
	if err := run(options); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func run(options map[string]string) error {
	config, err := configure(options)
	if err != nil {
		return err
	}
	if options["role"] == "server" {
		return serve(config, options)
	}
	if options["count"] != "" {
		return crowd(config, options)
	}
	var ended atomic.Value
	switch {
	case options["seconds"] != "":
		seconds, _ := strconv.Atoi(options["seconds"])
		time.AfterFunc(time.Duration(seconds)*time.Second, func() { ended.Store(true) })
	case options["endless"] != "":
		go func() {
			io.Copy(io.Discard, os.Stdin)
			ended.Store(true)
		}()
	default:
		ended.Store(true)
	}
	for {
		version, err := talk(config, options)
		if err != nil && options["endless"] == "" {
			return err
		}
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("ok", version)
		}
		if ended.Load() != nil {
			return nil
		}
	}
}

func configure(options map[string]string) (*tls.Config, error) {
	config := &tls.Config{
		ServerName: options["name"],
		MinVersion: versions[options["min"]],
		MaxVersion: versions[options["max"]],
	}
	if options["alpn"] != "" {
		config.NextProtos = strings.Split(options["alpn"], ",")
	}
	if options["curve"] != "" {
		config.CurvePreferences = []tls.CurveID{curves[options["curve"]]}
	}
	if options["cipher"] != "" {
		config.CipherSuites = []uint16{ciphers[options["cipher"]]}
	}
	if options["cert"] != "" {
		certificate, err := tls.LoadX509KeyPair(options["cert"], options["cert"])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	pool, err := trusting(options["ca"])
	if err != nil {
		return nil, err
	}
	if options["role"] != "server" {
		config.InsecureSkipVerify = options["ca"] == ""
		config.RootCAs = pool
	} else if options["ca"] != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = pool
	}
	return config, nil
}

func trusting(file string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pool.AppendCertsFromPEM(pem)
	}
	return pool, nil
}

func crowd(config *tls.Config, options map[string]string) error {
	kinds := strings.Split(options["kinds"], ",")
	count, _ := strconv.Atoi(options["count"])
	parallel, _ := strconv.Atoi(options["parallel"])
	strange, err := trusting(options["stranger"])
	if err != nil {
		return err
	}
	input := bufio.NewReader(os.Stdin)
	var batch sync.WaitGroup
	for number := 0; number < count; number++ {
		number, kind := number, kinds[number%len(kinds)]
		own := config.Clone()
		own.ServerName = fmt.Sprintf("%d.%s.test", number, kind)
		switch kind {
		case "ca":
			own.RootCAs = strange
		case "version":
			own.MaxVersion = tls.VersionTLS12
		case "alpn":
			own.NextProtos = []string{"smtp"}
		}
		batch.Add(1)
		go func() {
			defer batch.Done()
			result := "ok"
			if _, err := talk(own, options); err != nil {
				result = "error " + err.Error()
			}
			fmt.Println(number, kind, result)
		}()
		if made := number + 1; made%parallel == 0 || made == count {
			batch.Wait()
			fmt.Println("so far", made)
			input.ReadString('\n')
		}
	}
	return nil
}

func talk(config *tls.Config, options map[string]string) (string, error) {
	socket, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		return "", err
	}
	if options["wrap"] != "" {
		socket = wrapped{socket}
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(os.Args[1])
	}
	connection := tls.Client(socket, config)
	defer socket.Close()
	if err := connection.Handshake(); err != nil {
		return "", err
	}
	defer connection.Close()
	// What grpc-go does since 1.67 (credentials/tls.go).
	if options["insist"] != "" && connection.ConnectionState().NegotiatedProtocol == "" {
		return "", fmt.Errorf("missing selected ALPN property")
	}
	if _, err := connection.Write([]byte("abc\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return "", err
	}
	if line != "cba\n" {
		return "", fmt.Errorf("unexpected answer %q", line)
	}
	return name(connection.ConnectionState().Version), nil
}

func serve(config *tls.Config, options map[string]string) error {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	for {
		socket, err := listener.Accept()
		if err != nil {
			return err
		}
		if options["wrap"] != "" {
			socket = wrapped{socket}
		}
		go answer(tls.Server(socket, config))
	}
}

func answer(connection *tls.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	reader := bufio.NewReader(connection)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		bytes := []byte(strings.TrimSuffix(line, "\n"))
		for i, j := 0, len(bytes)-1; i < j; i, j = i+1, j-1 {
			bytes[i], bytes[j] = bytes[j], bytes[i]
		}
		if _, err := connection.Write(append(bytes, '\n')); err != nil {
			return
		}
	}
}

func name(version uint16) string {
	for text, number := range versions {
		if number == version {
			return "TLS " + text
		}
	}
	return "?"
}
