//! What Prometheus makes of the metrics: a real one, its rules, and the dashboard's queries.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tls_trace_tests::{
    Case,
    certificates::Certificates,
    clients, free_port,
    program::{Program, Running},
    scratch, seconds, servers, truth,
};

/// Queries that may be empty here, by a metric in them: nothing is lost, no ClientHello is sent
/// again, nobody offers early data or speaks HTTP/2.
const QUIET: &[&str] = &[
    "tls_trace_client_hello_retransmits_total",
    "tls_trace_early_data_total",
    "tls_trace_events_lost_total",
    "tls_trace_h2_goaway_total",
    "tls_trace_hook_attached",
];

#[test]
fn metrics_are_as_prometheus_wants_them() {
    truth(&["python3", "curl", "promtool"], |case| {
        let _server = server(case)?;
        trouble(case)?;
        let mut promtool = Program::new("promtool").args("check metrics").start()?;
        let response = case.tracer().metrics()?;
        let (_, metrics) = response.split_once("\r\n\r\n").context("no body")?;
        promtool.say(metrics)?;
        let said = promtool.finish()?.success()?.output;
        ensure!(said.is_empty(), "{said}");
        Ok(())
    });
}

#[test]
fn rules_hold() {
    truth(&["promtool"], |_| {
        let folder = deploy("prometheus");
        for (what, file) in [("check", "rules.yml"), ("test", "tests.yml")] {
            Program::new("promtool")
                .args(&format!("{what} rules"))
                .arg(folder.join(file))
                .run()?
                .success()?;
        }
        Ok(())
    });
}

#[test]
fn dashboard_asks_for_what_is_there() {
    truth(&["python3", "curl", "prometheus"], |case| {
        let _server = server(case)?;
        trouble(case)?;
        let prometheus = Prometheus::scraping(case)?;
        trouble(case)?;
        prometheus.until("increase(tls_trace_handshakes_total{outcome='failed'}[1m]) > 0")?;
        let metrics = case.tracer().metrics()?;
        let served = names(&metrics);
        let dashboard = fs::read(deploy("grafana/tls-trace.json"))?;
        let dashboard: Value = serde_json::from_slice(&dashboard)?;
        let panels = dashboard["panels"].as_array().context("no panels")?;
        let mut queries = 0;
        for panel in panels {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let title = panel["title"].as_str().context("no title")?;
                let query = target["expr"].as_str().context("no query")?;
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                for metric in metrics_in(query) {
                    ensure!(
                        served.contains(metric) || QUIET.contains(&metric),
                        "{title}: no {metric}"
                    );
                }
                prometheus
                    .shows(query, legend)
                    .with_context(|| format!("{title}: {query}"))?;
                queries += 1;
            }
        }
        ensure!(queries > 30, "only {queries} queries");
        Ok(())
    });
}

/// A server that resets every connection after a moment.
fn server(case: &Case) -> Result<Running> {
    let good = Certificates::shared()?.good();
    servers::python(case.port(), &good, "cut=0.1").listening(case.port())
}

/// One failure, broken connections, and a flap.
fn trouble(case: &Case) -> Result<()> {
    let certificates = Certificates::shared()?;
    clients::curl(case.address(), "/").run()?;
    let options = format!(
        "ca={} alpn=h2 end=hold keepalive=1 count=4",
        certificates.ca()
    );
    clients::python(case.address(), &options).run()?;
    let flaps = case.tracer().flaps(case.port(), 1)?;
    ensure!(!flaps.is_empty(), "nothing flaps");
    Ok(())
}

/// A Prometheus server that scrapes the case's tracer.
struct Prometheus {
    address: SocketAddr,
    _server: Running,
}

impl Prometheus {
    /// Starts one, and waits until it has scraped twice.
    fn scraping(case: &Case) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let target = case.tracer().ready()["metrics"].clone();
        let folder = scratch()?.join("prometheus");
        fs::create_dir_all(&folder)?;
        let configuration = folder.join("prometheus.yml");
        // JSON is YAML.
        let settings = serde_json::json!({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "rule_files": [deploy("prometheus/rules.yml")],
            "scrape_configs": [{"job_name": "tls-trace", "static_configs": [{"targets": [target]}]}],
        });
        fs::write(&configuration, settings.to_string())?;
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let server = Program::new("prometheus")
            .arg(option("config.file", &configuration))
            .arg(option("storage.tsdb.path", &folder.join("data")))
            .arg(format!("--web.listen-address={address}"))
            .start()?;
        server.until("Server is ready to receive web requests")?;
        let prometheus = Self {
            address,
            _server: server,
        };
        prometheus.until("count_over_time(tls_trace_flapping[1m]) >= 2")?;
        Ok(prometheus)
    }

    /// Waits until this gives something.
    fn until(&self, query: &str) -> Result<()> {
        let deadline = Instant::now() + seconds(20.0);
        while self.ask(query)?.is_empty() {
            ensure!(Instant::now() < deadline, "never: {query}");
        }
        Ok(())
    }

    /// Fails unless the answer has something to show, with the labels of the legend.
    fn shows(&self, query: &str, legend: &str) -> Result<()> {
        let plain = [
            ("$__rate_interval", "1m"),
            ("$__range", "5m"),
            ("$instance", ".*"),
            ("$job", ".*"),
            ("$role", ".*"),
        ];
        let plain = plain.iter().fold(query.to_owned(), |query, (name, value)| {
            query.replace(name, value)
        });
        let answer = self.ask(&plain)?;
        let quiet = metrics_in(query).all(|metric| QUIET.contains(&metric));
        ensure!(quiet || !answer.is_empty(), "shows nothing");
        for label in legend.split("{{").skip(1) {
            let (label, _) = label.split_once("}}").context("legend")?;
            let shown = |series: &Value| series["metric"][label].is_string();
            ensure!(
                answer.is_empty() || answer.iter().any(shown),
                "no label {label}: {answer:?}"
            );
        }
        Ok(())
    }

    /// The series that a query gives now.
    fn ask(&self, query: &str) -> Result<Vec<Value>> {
        let answer = Program::new("curl")
            .args("--silent --show-error --data-urlencode")
            .arg(format!("query={query}"))
            .arg(format!("http://{}/api/v1/query", self.address))
            .run()?
            .success()?;
        let answer: Value = serde_json::from_str(&answer.output)
            .with_context(|| format!("no JSON: {}", answer.output))?;
        ensure!(answer["status"] == "success", "{answer}");
        let series = answer["data"]["result"].as_array();
        Ok(series.context("no result")?.clone())
    }
}

/// The metrics that a query reads; of a histogram its own name.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tls_trace_") || word.starts_with("process_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
}

/// Names of the metrics in an exposition.
fn names(exposition: &str) -> BTreeSet<&str> {
    let helps = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "));
    helps.filter_map(|line| line.split(' ').next()).collect()
}

fn deploy(what: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(what)
}
