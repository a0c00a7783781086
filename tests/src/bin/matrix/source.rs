//! Programs that are run from their source.

pub const PYTHON_CLIENT: &str = include_str!("../../../programs/matrix/client.py");
pub const GRPCIO_CLIENT: &str = include_str!("../../../programs/matrix/grpc_client.py");
pub const NODE_CLIENT: &str = include_str!("../../../programs/matrix/client.js");
pub const NODE_SERVER: &str = include_str!("../../../programs/matrix/server.js");
pub const JAVA_CLIENT: &str = include_str!("../../../programs/matrix/MatrixClient.java");
