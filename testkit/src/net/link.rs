//! A host's link: cut, lossy, slow.
//!
//! Does not own: delay (`relay`), which kernels can only make with `netem`, and ours for tests may not have it. A cut is
//! silent, as a pulled cable or a firewall is: no connection is reset, and nothing is refused.

use super::{host::Host, network::ip};
use crate::run_checked;

impl Host {
    /// Pulls the host's cable.
    pub fn cut(&self) {
        ip(&["-n", &self.bridge, "link", "set", &self.port, "down"]);
    }

    /// Puts the cable back.
    pub fn mend(&self) {
        ip(&["-n", &self.bridge, "link", "set", &self.port, "up"]);
    }

    /// Drops everything between this host and another, and nothing else.
    pub fn cut_from(&self, other: &Self) {
        self.drop_all("--append", other);
    }

    /// Undoes `cut_from`.
    pub fn mend_to(&self, other: &Self) {
        self.drop_all("--delete", other);
    }

    /// Loses so many of a hundred packets that come in.
    pub fn lose(&self, percent: u32) {
        let probability = format!("{}", f64::from(percent) / 100.0);
        let random = ["--match", "statistic", "--mode", "random", "--probability", &probability];
        self.rule(&["--append", "INPUT", "--in-interface", "eth0"], &random);
    }

    /// Sends at most so many megabits a second.
    pub fn slow_down(&self, megabits: u32) {
        let rate = format!("{megabits}mbit");
        let filter = ["burst", "32kb", "latency", "200ms"];
        let mut tc = self.command("tc");
        run_checked(tc.args(["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate]).args(filter));
    }

    fn drop_all(&self, change: &str, other: &Self) {
        let other = other.address().to_string();
        self.rule(&[change, "INPUT"], &["--source", &other]);
        self.rule(&[change, "OUTPUT"], &["--destination", &other]);
    }

    fn rule(&self, place: &[&str], what: &[&str]) {
        let mut iptables = self.command("iptables");
        run_checked(iptables.arg("--wait").args(place).args(what).args(["--jump", "DROP"]));
    }
}
