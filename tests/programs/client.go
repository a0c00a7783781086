// A TLS client: ADDRESS [name=value...] exchanges a line and leaves; prints "ok VERSION" or "error TEXT".
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := talk(); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func talk() error {
	options := map[string]string{}
	for _, argument := range os.Args[2:] {
		name, value, _ := strings.Cut(argument, "=")
		options[name] = value
	}
	config := &tls.Config{InsecureSkipVerify: options["ca"] == ""}
	if options["ca"] != "" {
		pem, err := os.ReadFile(options["ca"])
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if options["max"] == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	if options["alpn"] != "" {
		config.NextProtos = strings.Split(options["alpn"], ",")
	}
	connection, err := tls.Dial("tcp", os.Args[1], config)
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("abc\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	if line != "cba\n" {
		return fmt.Errorf("unexpected answer %q", line)
	}
	fmt.Println("ok", tls.VersionName(connection.ConnectionState().Version))
	return nil
}
