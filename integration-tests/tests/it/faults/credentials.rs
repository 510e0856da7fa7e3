//! Credentials that the platform hands out for a while: a run goes on when they are replaced in its middle.
//!
//! Does not own: keys that are simply rejected (`named`). The platform is an endpoint like that of ECS and EKS; each of its
//! keys is another one, and the store's log tells which of them were used.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::place::Place;
use crate::system::site::{json, text};

/// Hands out keys that are to be replaced at once; ends with the test's process.
struct Platform {
    address: String,
    handed_out: Arc<AtomicU64>,
}

impl Platform {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = format!("http://{}/credentials", listener.local_addr().expect("an address"));
        let handed_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&handed_out);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let read = stream.read(&mut [0; 4096]);
                let number = counter.fetch_add(1, Ordering::Relaxed);
                // Less than five minutes before its end, a key is replaced before its next use.
                let keys = format!(
                    "{{\"AccessKeyId\":\"key-{number}\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\
                     \"Expiration\":\"{}\"}}",
                    in_a_minute()
                );
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", keys.len());
                if read.is_ok() {
                    let _ = stream.write_all((head + &keys).as_bytes());
                }
            }
        });
        Self { address, handed_out }
    }
}

fn in_a_minute() -> String {
    let date = packhorse_testkit::hermetic_command("date")
        .args(["--utc", "--date=1 minute", "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    String::from_utf8(date.expect("run date").stdout).expect("text").trim().to_owned()
}

#[test]
fn keys_that_are_replaced_in_the_middle_of_a_run_are_taken_up() {
    let (place, platform) = (Place::new("20s"), Platform::start());
    let token = place.site.write("token", "the pod's own");
    let states = place.states();
    let create = place.site.ctl("packhorse.toml", ["create", "--json", "--backup-id", "0001"]);
    let create = create
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &platform.address)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    let summary = json(&create.run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    let used: BTreeSet<String> = place.server.log().into_iter().map(|request| request.who).collect();
    assert!(used.iter().all(|key| key.starts_with("key-")), "{used:?}");
    let handed_out = platform.handed_out.load(Ordering::Relaxed);
    assert!(used.len() > 1, "one key of {handed_out} did for the whole run: {used:?}");
    place.assert_restores("0001", &states);
}
