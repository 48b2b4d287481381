//! What ran during a build, and what it was refused (in-toto, predicate "Runtime Trace").
//!
//! Best effort: programs are noted when they are started, by the words that they were given, and what is refused by who tried. It proves
//! that what is in it was seen, and not that there was nothing else.

use serde::Serialize;
use serde_json::{Value, json};

use crate::provenance::{BUILD_TYPE, Metadata};

/// The predicate's type.
pub const TRACE: &str = "https://in-toto.io/attestation/runtime-trace/v0.2";
/// Who watched.
const MONITOR: &str = "urn:bulla:sandbox:1";

/// A program that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// `build/1`.
    pub step: String,
    /// The path that was asked for.
    pub executable: String,
    /// Its words.
    pub arguments: Vec<String>,
    /// How often the same.
    pub times: u64,
}

/// Something that was tried and not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// `build/1`.
    #[serde(skip)]
    pub step: String,
    /// What was tried: `connect`, `send`, `lookup`, `request`.
    #[serde(skip)]
    pub kind: String,
    /// The address and port, or the name.
    #[serde(skip)]
    pub target: String,
    /// The program that tried.
    pub executable: String,
    /// Its words.
    pub command_line: String,
    /// How often.
    #[serde(skip)]
    pub times: u64,
}

impl Refusal {
    fn entry(&self) -> Value {
        let mut entry = json!({
            "step": self.step, "refused": true, "kind": self.kind, "target": self.target, "times": self.times,
            "invokingProcess": self,
        });
        if let Ok(address) = self.target.parse::<std::net::SocketAddr>() {
            entry["ip"] = json!(address.ip().to_string());
            entry["port"] = json!(address.port());
        } else if self.kind == "lookup" {
            entry["hostname"] = json!(self.target);
        }
        entry
    }
}

/// Makes the predicate. `dropped` says how many programs and refusals are not in the lists, because there were too many.
pub fn predicate(
    builder: &str,
    metadata: &Metadata,
    (processes, refusals): (&[Process], &[Refusal]),
    dropped: (u64, u64),
) -> Value {
    json!({
        "monitor": {
            "type": MONITOR,
            "tracePolicy": {
                "completeness": "best effort",
                "network": "every entry was refused: a step has no network but its own loopback",
                "processesNotListed": dropped.0,
                "refusalsNotListed": dropped.1,
            },
        },
        "monitoredProcess": {"hostID": builder, "type": BUILD_TYPE, "event": metadata.invocation_id},
        "monitorLog": {
            "process": processes,
            "network": refusals.iter().map(Refusal::entry).collect::<Vec<_>>(),
        },
        "metadata": {"buildStartedOn": metadata.started_on, "buildFinishedOn": metadata.finished_on},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_not_told_as_network_that_there_was() {
        let refusal = |kind: &str, target: &str| Refusal {
            step: "build/1".to_owned(),
            kind: kind.to_owned(),
            target: target.to_owned(),
            executable: "/usr/bin/curl".to_owned(),
            command_line: "curl x".to_owned(),
            times: 2,
        };
        let metadata = Metadata { invocation_id: "i".into(), started_on: "a".into(), finished_on: "b".into() };
        let refusals = [
            refusal("connect", "192.0.2.1:443"),
            refusal("connect", "[2001:db8::1]:53"),
            refusal("lookup", "a.example"),
        ];
        let value = predicate("urn:x", &metadata, (&[], &refusals), (0, 3));
        let network = value["monitorLog"]["network"].as_array().expect("a list");
        assert!(
            network
                .iter()
                .all(|entry| entry["refused"] == true && entry["invokingProcess"]["executable"] == "/usr/bin/curl")
        );
        assert_eq!((&network[0]["ip"], &network[0]["port"]), (&json!("192.0.2.1"), &json!(443)));
        assert_eq!(network[1]["ip"], "2001:db8::1");
        assert_eq!(network[2]["hostname"], "a.example");
        assert_eq!(value["monitor"]["tracePolicy"]["refusalsNotListed"], 3);
    }
}
