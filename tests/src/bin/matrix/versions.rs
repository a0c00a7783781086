//! Which programs shook hands.

use std::path::Path;

use tls_trace_tests::program::Program;

/// One line on each program that is here and whose name does not say its version.
pub fn all(tools: &Path) -> Vec<String> {
    let python =
        "import ssl, sys; print('Python', sys.version.split()[0] + ',', ssl.OPENSSL_VERSION)";
    let node = "console.log(`Node ${process.version}, OpenSSL ${process.versions.openssl}`)";
    let programs = [
        Program::new("openssl").args("version"),
        Program::new("curl").args("--version"),
        Program::new("python3").arg("-c").arg(python),
        Program::new("node").arg("-e").arg(node),
        Program::new("gnutls-cli").args("--version"),
        Program::new("java").args("-version"),
        Program::new("nginx").args("-v"),
        Program::new("haproxy").args("-v"),
        Program::at(&tools.join("envoy/envoy/_bin/envoy")).args("--version"),
    ];
    programs.into_iter().filter_map(version).collect()
}

/// The first line with a version, without what follows in brackets.
fn version(program: Program) -> Option<String> {
    let output = program.run().ok()?.output;
    let mut lines = output.lines();
    let line = lines.find(|line| line.contains(|letter: char| letter.is_ascii_digit()))?;
    let line = line.split(" (").next()?;
    // Envoy begins with where it is: FILE  version: COMMIT/RELEASE/STATE/BUILD/LIBRARY
    let parts: Vec<_> = line.split('/').collect();
    Some(match parts[..] {
        [.., release, _, _, library] if line.contains("envoy ") => {
            format!("Envoy {release}, {library}")
        }
        _ => line.trim().to_owned(),
    })
}
