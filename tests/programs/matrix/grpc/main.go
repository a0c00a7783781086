// grpc-go as a client: client HOST:PORT CA MAX; and as a server: server HOST:PORT CERTIFICATE MIN [CA]. The client
// waits until its connection is ready or has failed; it prints "ok" or "error TEXT". hold: neither, until standard
// input ends.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

type healthy struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (healthy) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return &grpc_health_v1.HealthCheckResponse{}, nil
}

func main() {
	if os.Args[1] == "hold" {
		io.Copy(io.Discard, os.Stdin)
		return
	}
	role, address, file := os.Args[1], os.Args[2], os.Args[3]
	config := &tls.Config{ServerName: "localhost"}
	var err error
	if role == "server" {
		config.MinVersion = versions[os.Args[4]]
		err = serve(address, file, config)
	} else {
		config.MaxVersion = versions[os.Args[4]]
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
	client, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer client.Close()
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(client).Check(patience, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("%s: %s", status.Code(err), status.Convert(err).Message())
	}
	fmt.Println("ok")
	return nil
}

func serve(address, file string, config *tls.Config) error {
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	config.Certificates = []tls.Certificate{certificate}
	if len(os.Args) > 5 {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if config.ClientCAs, err = authorities(os.Args[5]); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	grpc_health_v1.RegisterHealthServer(server, healthy{})
	return server.Serve(listener)
}
