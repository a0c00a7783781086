//! HTTP/2 in Go programs: what its control frames pass once or a few times for each connection.
//! Nothing that runs for each request or each ping: gRPC pings to measure bandwidth.

/// The functions of one copy of Go's http2 package: what types are called is in front of their names.
macro_rules! package {
    ($start:literal) => {
        [
            concat!($start, "Framer).WriteGoAway"),
            concat!($start, "Framer).WriteSettings"),
            concat!($start, "Framer).WriteSettingsAck"),
            concat!($start, "clientConnReadLoop).processGoAway"),
            concat!($start, "clientConnReadLoop).processSettings"),
            concat!($start, "serverConn).processGoAway"),
            concat!($start, "serverConn).processSettings"),
            concat!($start, "ClientConn).closeForLostPing"),
        ]
    };
}

/// The package, its copy in net/http until Go 1.26 (h2_bundle.go), and from 1.27 on. A program may have
/// two of them.
const PACKAGES: [[&str; 8]; 3] = [
    package!("golang.org/x/net/http2.(*"),
    package!("net/http.(*http2"),
    package!("net/http/internal/http2.(*"),
];

/// grpc-go reads frames with the package's framer and takes them apart itself.
const GRPC: [&str; 6] = [
    "google.golang.org/grpc/internal/transport.(*http2Client).handleGoAway",
    "google.golang.org/grpc/internal/transport.(*http2Client).handleSettings",
    "google.golang.org/grpc/internal/transport.(*http2Client).Close",
    "google.golang.org/grpc/internal/transport.(*http2Server).handleSettings",
    "google.golang.org/grpc/internal/transport.(*http2Server).Close",
    "google.golang.org/grpc.(*addrConn).updateConnectivityState",
];

/// Names to look for in function tables, which are those of the hooks as well.
pub fn names() -> impl Iterator<Item = &'static str> {
    PACKAGES.into_iter().flatten().chain(GRPC)
}
