use tempfile::TempDir;
use tokio::io::BufReader;

use super::*;
use crate::{
    engine,
    event::Timestamp,
    sink::sample,
    source::recording::{Header, Item, Recording},
};

struct Daemon {
    folder: TempDir,
    broadcast: Broadcast,
    outputs: Outputs,
}

impl Daemon {
    fn start() -> Self {
        Self::with(None, STALLED)
    }

    fn with(flight: Option<FlightRecorder>, stalled: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::new().unwrap();
        let mut server = Server::bind(&folder.path().join("s")).unwrap();
        server.stalled = stalled;
        let ready = json::line(&Ready::new(&[])).unwrap();
        let broadcast = server.start(ready, outputs.clone(), flight);
        Self {
            folder,
            broadcast,
            outputs,
        }
    }

    /// A reader that says and reads nothing by itself; registered when this returns.
    async fn raw(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("s"))
            .await
            .unwrap();
        let mut stream = BufReader::new(stream);
        let ready = line(&mut stream).await;
        assert!(
            ready.starts_with("{\"ready\":true,\"schema\":1,"),
            "{ready}"
        );
        stream
    }

    async fn client(&self, filter: &Filter) -> Result<Client, ClientError> {
        Client::connect(&self.folder.path().join("s"), filter).await
    }
}

async fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

fn all() -> Filter {
    Filter {
        all: true,
        ..Filter::default()
    }
}

#[tokio::test]
async fn readers_get_reports_and_a_goodbye() {
    let mut daemon = Daemon::start();
    let mut one = daemon.client(&all()).await.unwrap();
    let mut other = daemon.raw().await;
    daemon.broadcast.report(&sample::failed());
    daemon.broadcast.report(&sample::established());
    for report in [sample::failed(), sample::established()] {
        let received = one.next(&all()).await.unwrap();
        assert_eq!(received.record, Record::Report(Box::new(report.clone())));
        assert_eq!(received.text, json::line(&report).unwrap());
        assert_eq!(line(&mut other).await, json::line(&report).unwrap());
    }
    assert_eq!(daemon.outputs.readers.get(), 2);
    let path = daemon.folder.path().join("s");
    daemon.broadcast.stop().await;
    let error = one.next(&all()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Ended(Reason::Stopped)),
        "{error:?}"
    );
    assert_eq!(line(&mut other).await, "{\"end\":\"stopped\"}\n");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stalled_reader_is_dropped_and_delays_nobody() {
    // The queue is what ends the reader, however slow this machine is.
    let mut daemon = Daemon::with(None, Duration::MAX);
    let mut stalled = daemon.raw().await;
    let mut prompt = daemon.client(&all()).await.unwrap();
    let report = sample::failed();
    // The queue, and what the kernel buffers for the socket.
    let enough = QUEUE + 10_000;
    let mut sent = 0;
    while daemon.outputs.readers_dropped.get() == 0 {
        assert!(sent < enough, "the stalled reader is waited for");
        daemon.broadcast.report(&report);
        prompt.next(&all()).await.unwrap();
        sent += 1;
    }
    assert!(sent > QUEUE);
    assert_eq!(daemon.outputs.readers_dropped.get(), 1);
    daemon.broadcast.report(&report);
    prompt.next(&all()).await.unwrap();

    // What was queued for it still comes when it wakes up in time, then the reason.
    let mut received = 0;
    let last = loop {
        let line = line(&mut stalled).await;
        if !line.starts_with("{\"schema\"") {
            break line;
        }
        received += 1;
    };
    assert_eq!(last, "{\"end\":\"too_slow\"}\n");
    assert!(
        received >= QUEUE && received < sent + 1,
        "{received} of {sent}"
    );
}

#[tokio::test]
async fn a_reader_that_stalls_for_too_long_is_dropped_and_counted() {
    let mut daemon = Daemon::with(None, Duration::from_millis(10));
    let mut stalled = daemon.raw().await;
    // Far fewer than its queue holds, more than the kernel buffers for the socket.
    for _ in 0..QUEUE / 4 {
        daemon.broadcast.report(&sample::failed());
    }
    let cut_off = async {
        while daemon.outputs.readers.get() == 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), cut_off).await.unwrap();
    assert_eq!(daemon.outputs.readers_dropped.get(), 1);
    let mut received = 0;
    while line(&mut stalled).await.ends_with('\n') {
        received += 1;
    }
    assert!(received < QUEUE / 4, "{received}");
}

#[tokio::test]
async fn filters_apply_at_the_daemon() {
    let filter = Mutex::new(all());
    let (server, mut client) = UnixStream::pair().unwrap();
    let wanted = Filter {
        ports: vec![443],
        ..Filter::default()
    };
    let text = json::line(&wanted).unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    drop(client);
    let (from, _to) = server.into_split();
    let (ask, mut asked) = mpsc::channel(1);
    let request = follow_requests(from, &filter, ask).await.unwrap();
    assert!(matches!(request, Request::Gone));
    assert_eq!(asked.recv().await, None);
    assert_eq!(*filter.lock().unwrap(), wanted);
}

#[tokio::test]
async fn a_client_shows_what_its_filter_passes() {
    let mut daemon = Daemon::start();
    let filter = Filter {
        all: true,
        ports: vec![443],
        ..Filter::default()
    };
    let mut client = daemon.client(&filter).await.unwrap();
    daemon.broadcast.report(&sample::failed());
    daemon.broadcast.report(&sample::established());
    let received = client.next(&filter).await.unwrap();
    let established = Record::Report(Box::new(sample::established()));
    assert_eq!(received.record, established);
}

#[tokio::test]
async fn what_is_no_filter_ends_the_conversation() {
    let daemon = Daemon::start();
    for request in ["GET / HTTP/1.1\r\n".to_owned(), "x".repeat(100_000)] {
        let mut stream = daemon.raw().await;
        // The daemon may close before it took all.
        let _ = stream.write_all(request.as_bytes()).await;
        assert_eq!(line(&mut stream).await, "{\"end\":\"bad_filter\"}\n");
    }
}

#[tokio::test]
async fn readers_beyond_the_limit_are_told() {
    let daemon = Daemon::start();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(daemon.raw().await);
    }
    let error = daemon.client(&all()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Ended(Reason::TooManyReaders)),
        "{error:?}"
    );
}

#[tokio::test]
async fn who_is_no_daemon_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let connect =
        |path| async move { Client::connect(path, &Filter::default()).await.unwrap_err() };
    assert!(matches!(connect(&path).await, ClientError::NoDaemon));

    let listener = UnixListener::bind(&path).unwrap();
    let answer = |text: &'static str| {
        let accepted = listener.accept();
        async move {
            let (mut stream, _) = accepted.await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }
    };
    let other = "{\"ready\":true,\"schema\":99,\"version\":\"9.0\"}\n";
    let (error, _stream) = tokio::join!(connect(&path), answer(other));
    assert!(
        error.to_string().contains("version 9.0 with schema 99"),
        "{error}"
    );
    let (error, _stream) = tokio::join!(connect(&path), answer("220 mail ESMTP\n"));
    assert!(matches!(error, ClientError::NotADaemon(_)), "{error:?}");

    drop(listener);
    assert!(matches!(connect(&path).await, ClientError::NoDaemon));
}

#[tokio::test]
async fn what_the_flight_recorder_holds() {
    let header = Header::new(0, engine::Config::default());
    let mut flight = FlightRecorder::new(&header, 1 << 20);
    flight.tick(Timestamp(7));
    let mut daemon = Daemon::with(Some(flight), STALLED);
    let reader = daemon.raw().await;
    daemon.broadcast.report(&sample::failed());
    let path = daemon.folder.path().join("s");
    let recording = flight_recording(&path).await.unwrap();
    let mut recording = Recording::open(&recording[..]).unwrap();
    assert_eq!(*recording.header(), header);
    assert_eq!(
        recording.next_item().unwrap(),
        Some(Item::Tick(Timestamp(7)))
    );
    assert_eq!(recording.next_item().unwrap(), None);
    drop(reader);

    let daemon = Daemon::start();
    let error = flight_recording(&daemon.folder.path().join("s")).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::NoFlightRecorder), "{error:?}");
}
