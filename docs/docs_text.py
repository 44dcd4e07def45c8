"""What generate.py cannot find in the code: the meaning of fields and names, and some prose."""

# ruff: noqa: E501 - rows of tables

from __future__ import annotations

INTRODUCTION = """\
# Reference

Made from the code by `python docs/generate.py`; change the code, or docs/docs_text.py.
"""

MORE_EXIT_CODES = {
    0: "all that was asked for was done",
    1: "an error of openmsi itself; please report it",
    130: "it was interrupted, or nobody read its output any more",
}

MORE_VARIABLES = {
    "OPENMSI_BOOTSTRAP_SERVERS": "The brokers, where neither `--bootstrap-servers` nor the file given as `--config` names any.",
    "OPENMSI_CONFIG_DIR": "A directory of configuration files that `--config` finds by name.",
    "OPENMSISTREAM_CONFIG_FILE_DIR": "The same, as OpenMSIStream calls it.",
    "HTTPS_PROXY": "The proxy through which `broker start` and `demo` fetch Apache Kafka, once.",
    "TMPDIR": "Where `demo` keeps its temporary files; `TEMP` on Windows.",
    "XDG_STATE_HOME": "Linux: the parent of the state directory, by default `~/.local/state`.",
    "XDG_DATA_HOME": "Linux: the parent of the broker's data, by default `~/.local/share`.",
    "XDG_CACHE_HOME": "Linux: the parent of the fetched Kafka, by default `~/.cache`.",
}

DIRECTORIES = """\
| What | Linux | macOS | Windows |
|---|---|---|---|
| state directory (`--state-dir`) | `~/.local/state/openmsi` | `~/Library/Application Support/openmsi` | `%LOCALAPPDATA%\\openmsi` |
| data of the local broker (`--data-dir`) | `~/.local/share/openmsi/broker` | `~/Library/Application Support/openmsi/broker` | `%LOCALAPPDATA%\\openmsi\\broker` |
| Apache Kafka, fetched once | `~/.cache/openmsi/kafka` | `~/Library/Caches/openmsi/kafka` | `%LOCALAPPDATA%\\openmsi\\Cache\\kafka` |

In the state directory, which must be on a local disk:

| File | What it is |
|---|---|
| `send/NAME-ID.sqlite` | the ledger: what was sent from one directory to one topic under one prefix |
| `receive/NAME-ID.sqlite` | the journal: what was received from one topic in one directory and group |
| `*.sqlite-wal`, `*.sqlite-shm` | belong to the database beside them; do not delete them alone |
| `*.lock` | held by the program that is at work; says which. It stays when the program ends |
| `agent/NAME-ID.json` | how the agent that runs one agent.toml is; `openmsi run FILE --status` shows it |
| `receive/NAME-ID.group` | the name of the consumer group of a directory that was given none |
| `*.bad` | a database that could not be used and was put aside |

A ledger may be deleted while no sender runs: the next one compares every file with the topic's
content or sends it again. Without its journal, a receiver goes on where its group has committed.

In the directory of a receiver, `.openmsi/spool` holds what is not complete yet. It goes when nothing
is left in it.

The local broker's data directory has one directory for each node, `node-1` and so on, with its log
`kafka.log`, and `openmsi-broker.json`.
"""

EVENTS_OF_SENDER = [
    "Started",
    "FileSent",
    "FileFailed",
    "FileSkipped",
    "FileVanished",
    "FileChanged",
    "FileMoved",
    "FileDeleted",
    "FileKept",
]
EVENTS_OF_RECEIVER = ["FileRebuilt", "VersionAborted", "VersionStale", "DeadLetter"]
EVENTS_OF_BOTH = ["Waiting", "Resumed", "Notice"]

# Which objects a command with --json prints: names of structs.
JSON_OBJECTS = {
    "demo": ["Outcome", "DemoSummary"],
    "upload": [*EVENTS_OF_SENDER[1:], *EVENTS_OF_BOTH, "SendSummary"],
    "watch": [*EVENTS_OF_SENDER, *EVENTS_OF_BOTH, "SendSummary"],
    "download": ["Started", *EVENTS_OF_RECEIVER, *EVENTS_OF_BOTH, "ReceiveSummary"],
    "run": [
        *EVENTS_OF_SENDER,
        *EVENTS_OF_RECEIVER,
        *EVENTS_OF_BOTH,
        "SendSummary",
        "ReceiveSummary",
        "Restarting",
        "Stopped",
        "AgentStatus",
        "PartStatus",
    ],
    "status": ["DirectoryStatus", "FileStatus"],
    "verify": ["Verified", "VerifySummary"],
    "dead-letters list": ["Kept"],
    "dead-letters retry": [*EVENTS_OF_RECEIVER, "Notice"],
    "topic create": ["TopicInfo"],
    "topic show": ["TopicInfo"],
    "doctor": ["Finding"],
    "service status": ["ServiceStatus"],
    "broker status": ["Status", "NodeStatus"],
}

# A field's meaning by its name, or by STRUCT.NAME where it has another one there.
FIELDS = {
    "path": "The file's name in the topic: relative, with `/`.",
    "FileFailed.path": "The file's name relative to the directory, with `/`.",
    "FileVanished.path": "The file's name relative to the directory, with `/`.",
    "FileSkipped.path": "The file's name relative to the directory, with `/`.",
    "FileChanged.path": "The file's name relative to the directory, with `/`.",
    "FileMoved.path": "The file's name relative to the directory, with `/`.",
    "FileDeleted.path": "The file's name relative to the directory, with `/`.",
    "FileKept.path": "The file's name relative to the directory, with `/`.",
    "FileStatus.path": "The file's name relative to the directory, with `/`.",
    "Verified.path": "The file's name relative to the directory, with `/`.",
    "DeadLetter.path": "The file's name in the topic, if known.",
    "Kept.path": "The file's name in the topic, or empty.",
    "size": "The file's size in bytes.",
    "version": "The id of this content in the topic: 32 hexadecimal digits.",
    "DeadLetter.version": "The id of the content that the records belong to, if known.",
    "Kept.version": "The id of the content that the records belong to, or empty.",
    "digest": "The content's checksum, `algorithm:hex`.",
    "Outcome.digest": "The original's checksum, `algorithm:hex`; empty if it cannot be read.",
    "received_digest": "The copy's checksum; empty if there is none.",
    "topic": "The Kafka topic.",
    "partition": "The partition of the topic that holds the records; -1 if several do.",
    "first_offset": "The offset of the first record; -1 if they lie in several partitions.",
    "last_offset": "The offset of the last record.",
    "seconds": "How long it took, in seconds.",
    "Outcome.seconds": "From drop to rebuilt, in seconds; with DIR, from the start of `watch`.",
    "reason": "Why, for people.",
    "DeadLetter.reason": "Why, one of the [reasons](#reasons-of-dead-letters).",
    "Kept.reason": "Why, one of the [reasons](#reasons-of-dead-letters).",
    "Outcome.reason": "Why the two are not equal; empty if they are.",
    "detail": "Why, for people.",
    "retry": "Whether it will be tried again by itself.",
    "to": "The full path at which the file is now.",
    "mtime_ns": "The file's time of modification, in nanoseconds since 1970-01-01 UTC; null if unknown.",
    "mtime_equal": "Whether both files have the same time of modification, to the nanosecond.",
    "equal": "Whether content and time of modification are equal.",
    "DemoSummary.equal": "How many of them are equal.",
    "files": "How many files there are.",
    "DirectoryStatus.files": "Those that are not sent, each as a FileStatus.",
    "text": "A sentence for people.",
    "directory": "The directory in which the program works, as a full path.",
    "group": "The consumer group of a receiver.",
    "sent": "How many files were sent.",
    "bytes": "The size of these files together.",
    "already_sent": "How many files were in the topic before, and are unchanged.",
    "failed": "How many files could not be sent.",
    "skipped": "How many files or directories are not sent on purpose.",
    "rebuilt": "How many files were rebuilt.",
    "dead_letters": "How many dead letters were made.",
    "incomplete": "Of how many files only a part was in the topic.",
    "bootstrap_servers": "The brokers that were used.",
    "problem": "Why the file is not safe; empty if it is.",
    "NodeStatus.problem": "Why a node that nobody stopped does not run; empty if nothing is wrong.",
    "problems": "How many of them are not safe.",
    "sender": "Which process sends this directory now; empty for none.",
    "in_flight": "How many files are on their way.",
    "waiting": "How many files are not sent yet.",
    "gone": "How many files were deleted before all of them was sent.",
    "state": "`sent`, `in-flight`, `waiting`, `failed`, `gone` or `left`.",
    "at": "When, in seconds since 1970-01-01 UTC.",
    "name": "The topic's name.",
    "topic_id": "Changes when a topic is deleted and made again; empty if the broker does not tell.",
    "partitions": "How many partitions the topic has.",
    "replication": "How many brokers keep a copy of each record.",
    "max_message_bytes": "The largest record that the topic takes, in bytes.",
    "retention_ms": "How long a record is kept, in milliseconds; null for ever.",
    "retention_bytes": "How many bytes a partition keeps; null for no limit.",
    "cleanup_policy": "Kafka's `cleanup.policy`: `delete` is right for files.",
    "min_insync_replicas": "How many brokers must have a record before it is acknowledged.",
    "running": "Whether the process is there; of several nodes, of at least one.",
    "bootstrap": "The address for clients; empty before the first start.",
    "nodes": "The nodes of the cluster, each as a NodeStatus.",
    "kafka_version": "The version of Apache Kafka.",
    "cluster_id": "Kafka's name for the cluster; empty before the first start.",
    "started": "When it was started last, UTC in ISO 8601.",
    "data_dir": "Where its data are.",
    "size_bytes": "What the data directory takes on the disk.",
    "number": "The node's number, from 1.",
    "address": "Where the node listens.",
    "pid": "The node's process, null if it does not run.",
    "answers": "Whether it speaks Kafka at its address.",
    "log": "The node's log file.",
    "Restarting.seconds": "After how many seconds it is started again.",
    "part": "The part of the agent: what it does, from where, to where.",
    "kind": "`watch`, `download` or `heartbeat`.",
    "PartStatus.directory": "The directory, as a full path; empty for heartbeats.",
    "PartStatus.state": "`starting`, `running`, `waiting`, `restarting`, `stopping` or `stopped`.",
    "since": "Since when it is in this state, in seconds since 1970-01-01 UTC.",
    "PartStatus.reason": "Why it waits or is started again; empty if it does not.",
    "restarts": "How often it was started again.",
    "PartStatus.files": "How many files by what became of them: `sent`, `rebuilt`, `failed`, `skipped`, `vanished`, `moved`, `deleted`, `kept`, `dead-letter`, `stale`.",
    "PartStatus.bytes": "The size of the files that were sent or rebuilt.",
    "errors": "How many errors by their kind.",
    "last_success": "When a file was last sent or rebuilt, in seconds since 1970-01-01 UTC; null for never.",
    "PartStatus.waiting": "How many files are known and wait.",
    "PartStatus.in_flight": "How many files are being sent, or are rebuilt in part.",
    "oldest_seconds": "For how many seconds the oldest of them is known; null for none.",
    "lag": "How many records were not received yet; null if that is not known.",
    "AgentStatus.name": "The agent's name: that in agent.toml, or the computer's.",
    "host": "The computer's name.",
    "AgentStatus.version": "The version of openmsi.",
    "AgentStatus.pid": "The agent's process.",
    "config": "The agent.toml, as a full path.",
    "AgentStatus.started": "When the agent was started, in seconds since 1970-01-01 UTC.",
    "AgentStatus.at": "The time of this status, in seconds since 1970-01-01 UTC.",
    "ServiceStatus.name": "The service's name.",
    "installed": "Whether there is a service of this name.",
    "ServiceStatus.running": "Whether it runs.",
    "from_boot": "Whether it starts when the computer does.",
    "ServiceStatus.state": "How it is, in the words of the system's service manager.",
    "ServiceStatus.pid": "Its process; null if it does not run.",
    "ServiceStatus.since": "Since when it is so, as the service manager writes it; empty if that does not tell.",
    "ServiceStatus.restarts": "How often it was started again after a crash; null if the service manager does not tell.",
    "ServiceStatus.text": "What the service says about itself.",
    "failure": "Why it ended last, if nobody stopped it; empty if it never did.",
    "check": "What was examined, one of the [checks](doctor.md#what-is-examined).",
    "about": "Of what: an address, a topic, a directory, a service.",
    "Finding.state": "`ok`, `warning`, `wrong` or `unknown`.",
    "Finding.text": "How it is, for people.",
    "cure": "What to do about it; empty if there is nothing to do.",
    "parts": "What it does, each as a PartStatus.",
    "AgentStatus.problem": "Why a changed agent.toml is not used; empty if nothing is wrong.",
    "agent": "Which process runs it now; empty for none.",
}

# Why records become dead letters: short names that stay the same.
REASONS = {
    "foreign": "the record was not made by openmsi: it lacks the header `openmsi.format`",
    "unknown-format": "the record is of a format that this version does not know",
    "bad-path": "the path is one that is refused everywhere, such as `../x` or `CON`",
    "bad-header": "a header is missing, comes twice, or has a value that it cannot have",
    "bad-size": "sizes, counts or positions do not fit each other or a limit",
    "bad-mtime": "the time of modification in a record of the older format is not a time",
    "bad-digest": "the digest is malformed, or not that of the content",
    "no-beginning": "the first record of the version is not in the topic, or not any more",
    "gap": "a record or bytes of the version are missing",
    "mixed-up": "records of one version name different paths or lie in different partitions",
    "too-many-open": "so many versions were begun and not finished that the oldest was given up",
    "bad-name": "the path cannot be written on this system",
    "in-the-way": "a directory, file or link at the destination has a name that is needed",
}
