// One end of HTTP/2: ADDRESS role=ROLE [name=value...].
//
// role=client (grpc-go): calls=N health checks, then prints "ready" and each state the channel comes to.
// It ends when its channel is not ready any more, or when its input ends.
// role=server (grpc-go): until killed; "graceful" and "stop" as lines of input stop it. Faults, by environment
// variables as chaos tools set them: FAULT_DELAY=MILLISECONDS before each answer, FAULT_ERRORS=N of a hundred calls
// fail, FAULT_ALPN=none selects no protocol.
// role=silent: shakes hands, and says nothing more. role=rude: a GOAWAY that is all debug data.
// role=web (net/http): until killed; "graceful" stops it. role=get: one request to it, and stays.
// "version" instead of an address: that of Go, "go1.26.8".
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	_ "unsafe"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	service "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// grpc-go raises shorter times to ten seconds; its own tests lower that.
//
//go:linkname keepaliveMinPingTime google.golang.org/grpc/internal.KeepaliveMinPingTime
var keepaliveMinPingTime time.Duration

type options map[string]string

func main() {
	address := os.Args[1]
	if address == "version" {
		fmt.Println(runtime.Version())
		return
	}
	given := options{}
	for _, argument := range os.Args[2:] {
		parts := strings.SplitN(argument, "=", 2)
		given[parts[0]] = parts[1]
	}
	roles := map[string]func(string, options) error{
		"client": client,
		"server": server,
		"silent": silent,
		"rude":   rude,
		"web":    web,
		"get":    get,
	}
	if err := roles[given["role"]](address, given); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func client(address string, given options) error {
	keepaliveMinPingTime = time.Millisecond
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.DefaultConfig,
			MinConnectTimeout: given.milliseconds("patience", 20000),
		}),
	}
	if given["ping"] != "" {
		dial = append(dial, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                given.milliseconds("ping", 0),
			Timeout:             given.milliseconds("timeout", 20000),
			PermitWithoutStream: true,
		}))
	}
	channel, err := grpc.NewClient("passthrough:///"+address, dial...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	channel.Connect()
	state := connectivity.Idle
	for ready := false; ; {
		if !channel.WaitForStateChange(ctx, state) {
			break
		}
		state = channel.GetState()
		fmt.Println("state", state)
		if state == connectivity.Ready && !ready {
			ready = true
			if err := call(channel, given.number("calls")); err != nil {
				return err
			}
			fmt.Println("ready")
		} else if ready || state == connectivity.TransientFailure {
			break
		}
	}
	return channel.Close()
}

func call(channel *grpc.ClientConn, calls int) error {
	stub := service.NewHealthClient(channel)
	for range calls {
		if _, err := stub.Check(context.Background(), &service.HealthCheckRequest{}); err != nil {
			return err
		}
	}
	return nil
}

func server(address string, given options) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	config, err := given.config("h2")
	if err != nil {
		return err
	}
	parameters := keepalive.ServerParameters{
		MaxConnectionIdle: given.milliseconds("idle", 0),
		MaxConnectionAge:  given.milliseconds("age", 0),
	}
	security := grpc.Creds(credentials.NewTLS(config))
	if os.Getenv("FAULT_ALPN") == "none" {
		// gRPC's own would select h2 all the same.
		config.NextProtos = nil
		listener = tls.NewListener(listener, config)
		security = grpc.EmptyServerOption{}
	}
	serving := grpc.NewServer(security, grpc.KeepaliveParams(parameters), faults())
	service.RegisterHealthServer(serving, health.NewServer())
	go onCommand(map[string]func(){"graceful": serving.GracefulStop, "stop": serving.Stop})
	return serving.Serve(listener)
}

func faults() grpc.ServerOption {
	delay, _ := strconv.Atoi(os.Getenv("FAULT_DELAY"))
	failing, _ := strconv.Atoi(os.Getenv("FAULT_ERRORS"))
	var calls atomic.Int64
	return grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, answer grpc.UnaryHandler) (any, error) {
		time.Sleep(time.Duration(delay) * time.Millisecond)
		if calls.Add(1)%100 < int64(failing) {
			return nil, status.Error(codes.Internal, "injected fault")
		}
		return answer(ctx, request)
	})
}

func silent(address string, given options) error {
	return each(address, given, func(connection *tls.Conn) {
		if given["settings"] != "" {
			http2.NewFramer(connection, connection).WriteSettings()
		}
		io.Copy(io.Discard, connection)
	})
}

// As much debug data as a frame has room for, and all of it for the terminal.
func rude(address string, given options) error {
	return each(address, given, func(connection *tls.Conn) {
		framer := http2.NewFramer(connection, connection)
		framer.WriteSettings()
		debug := bytes.Repeat([]byte("\x1b[2J\x00\xff\r\n"), 2047)
		framer.WriteGoAway(0, http2.ErrCodeInadequateSecurity, debug)
		io.Copy(io.Discard, connection)
	})
}

func each(address string, given options, serve func(*tls.Conn)) error {
	protocol := "h2"
	if given["alpn"] == "none" {
		protocol = ""
	}
	config, err := given.config(protocol)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		socket, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer socket.Close()
			connection := tls.Server(socket, config)
			if connection.Handshake() == nil {
				serve(connection)
				connection.Close()
			}
		}()
	}
}

func web(address string, given options) error {
	config, err := given.config("h2")
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello\n")
	})
	serving := &http.Server{Addr: address, Handler: handler, TLSConfig: config}
	stopped := make(chan struct{})
	go onCommand(map[string]func(){"graceful": func() {
		serving.Shutdown(context.Background())
		close(stopped)
	}})
	if err := serving.ListenAndServeTLS("", ""); err != http.ErrServerClosed {
		return err
	}
	<-stopped
	return nil
}

func get(address string, given options) error {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}
	answer, err := (&http.Client{Transport: transport}).Get("https://" + address)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, answer.Body)
	fmt.Println("ready", answer.Proto)
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// Runs what a line of input names.
func onCommand(commands map[string]func()) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		commands[lines.Text()]()
	}
}

func (given options) config(protocol string) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(given["cert"], given["cert"])
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	return config, nil
}

func (given options) number(name string) int {
	number, _ := strconv.Atoi(given[name])
	return number
}

func (given options) milliseconds(name string, otherwise int) time.Duration {
	if given[name] != "" {
		otherwise = given.number(name)
	}
	return time.Duration(otherwise) * time.Millisecond
}
