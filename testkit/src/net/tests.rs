//! Hosts that see each other, and links that are cut, slow and far.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{Host, Network, Relay};
use crate::{FaultyS3, run_checked, wait_until};

fn connects(from: &Host, to: SocketAddr) -> bool {
    from.within(|| TcpStream::connect_timeout(&to, Duration::from_millis(300))).is_ok()
}

#[test]
fn links_are_cut_slow_and_far() {
    let Some(network) = Network::start() else { return };
    let (one, two, three) = (network.host("one"), network.host("two"), network.host("three"));
    let listener = two.listen();
    let there = listener.local_addr().expect("a bound socket has an address");
    assert!(connects(&one, there) && connects(&three, there));
    assert!(
        TcpStream::connect_timeout(&there, Duration::from_millis(100)).is_err(),
        "the machine is not on it"
    );

    two.cut();
    assert!(!connects(&one, there) && !connects(&three, there));
    two.mend();
    one.cut_from(&two);
    assert!(!connects(&one, there) && connects(&three, there));
    one.mend_to(&two);
    wait_until("a mended link", Duration::from_secs(10), || {
        if connects(&one, there) { Ok(()) } else { Err("cut".to_owned()) }
    });

    let answering = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut from, mut to) = (&stream, &stream);
            let mut bytes = vec![0; 1 << 20];
            if from.read_exact(&mut bytes).is_ok() {
                return to.write_all(b"!").expect("answer");
            }
        }
    });
    let relay = Relay::start(&two, there.port(), Duration::from_millis(50));
    one.slow_down(16);
    let begun = Instant::now();
    one.within(|| {
        let mut stream = TcpStream::connect(relay.address()).expect("the relay listens");
        stream.write_all(&vec![7; 1 << 20]).expect("send");
        stream.read_exact(&mut [0]).expect("an answer");
    });
    answering.join().expect("it answers");
    // Half a second for a mebibyte at 16 Mbit/s, and twice 50 ms.
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn a_lossy_link_loses_and_a_store_serves_hosts() {
    let Some(network) = Network::start() else { return };
    let (one, two) = (network.host("one"), network.host("two"));
    let store = FaultyS3::start_on(&two);
    let get = |retries: &str| {
        let mut curl = one.command("curl");
        curl.args(["--silent", "--max-time", "20", "--retry", retries, "--output", "/dev/null"]);
        run_checked(curl.arg(format!("{}/packhorse?list-type=2", store.endpoint())));
    };
    get("0");
    two.lose(30);
    (0..5).for_each(|_| get("3"));
    let mut list = two.command("iptables");
    let counters = run_checked(list.args(["--list", "INPUT", "--verbose", "--numeric", "--exact"]));
    let counters = String::from_utf8_lossy(&counters.stdout).into_owned();
    let dropped = counters
        .lines()
        .find(|line| line.contains("statistic"))
        .and_then(|line| line.split_whitespace().next());
    assert!(dropped.is_some_and(|dropped| dropped != "0"), "{counters}");
}
