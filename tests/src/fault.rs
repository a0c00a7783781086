//! Faults: what the network, the kernel and administrators do to connections.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{netns::Netns, program::Program, program::pause, seconds};

/// Packet-filter rules in a namespace, until dropped.
#[derive(Debug)]
pub struct Rules<'a> {
    netns: &'a Netns,
}

impl<'a> Rules<'a> {
    /// Adds one rule, in nft's words, to what comes into the namespace. It counts what it matches.
    ///
    /// # Errors
    /// nft refuses it.
    pub fn input(netns: &'a Netns, matching: &str, action: &str) -> Result<Self> {
        Self::at(
            netns,
            &["input"],
            &format!("{matching} counter name hits {action}"),
        )
    }

    /// Adds one rule at these hooks, all at once.
    fn at(netns: &'a Netns, hooks: &[&str], rule: &str) -> Result<Self> {
        let chain = |hook: &&str| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority 0; policy accept;\n{rule}\n}}\n"
            )
        };
        let chains: Vec<_> = hooks.iter().map(chain).collect();
        nft(
            netns,
            &format!(
                "table inet fault {{\ncounter hits {{\n}}\n{}}}",
                chains.concat()
            ),
        )?;
        Ok(Self { netns })
    }

    /// Waits until the rule has matched that many packets.
    ///
    /// # Errors
    /// It did not within the deadline.
    pub fn hit(&self, packets: u64) -> Result<()> {
        let deadline = Instant::now() + seconds(20.0);
        while self.hits()? < packets {
            ensure!(Instant::now() < deadline, "fewer than {packets} packets");
            pause();
        }
        Ok(())
    }

    fn hits(&self) -> Result<u64> {
        let list = nft(self.netns, "list counter inet fault hits")?;
        let mut words = list
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words
            .nth(1)
            .and_then(|count| count.parse().ok())
            .with_context(|| format!("no count in: {list}"))
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        let _ = nft(self.netns, "delete table inet fault");
    }
}

/// Everything that comes into the namespace is lost, until dropped.
///
/// # Errors
/// nft refuses it.
pub fn blackhole(netns: &Netns) -> Result<Rules<'_>> {
    Rules::input(netns, "meta l4proto tcp", "drop")
}

/// Nothing comes into the namespace or leaves it, from one moment on, until dropped.
///
/// # Errors
/// nft refuses it.
pub fn cut_off(netns: &Netns) -> Result<Rules<'_>> {
    Rules::at(
        netns,
        &["input", "postrouting"],
        "meta l4proto tcp counter name hits drop",
    )
}

fn nft(netns: &Netns, commands: &str) -> Result<String> {
    let finished = netns.run(Program::new("nft").arg(commands))?;
    Ok(finished.output)
}

/// Destroys one socket as an administrator does: `ss -K`.
///
/// # Errors
/// There is no such socket, or the kernel cannot do it (`CONFIG_INET_DIAG_DESTROY`).
pub fn destroy_socket(local: SocketAddr, remote: SocketAddr) -> Result<()> {
    let listed = Program::new("ss")
        .args(&format!("-HtnK src {local} dst {remote}"))
        .run()?
        .success()?;
    ensure!(
        listed.output.contains(&local.port().to_string()),
        "no socket {local} -> {remote}: {}",
        listed.output
    );
    Ok(())
}
