//! The metadata quorum's messages: those of the Raft library, field by field, with their data in the body.

use super::schema::frozen;

frozen! {
    pub struct RaftMessageV1 {
        /// The library's number of the message's type.
        pub message_type: u8,
        pub to: u64,
        pub from: u64,
        pub term: u64,
        pub log_term: u64,
        pub index: u64,
        pub entries: Vec<RaftEntryV1>,
        pub commit: u64,
        pub commit_term: u64,
        pub snapshot: Option<RaftSnapshotV1>,
        pub request_snapshot: u64,
        pub reject: bool,
        pub reject_hint: u64,
        pub context: Vec<u8>,
        pub priority: i64,
    }

    pub struct RaftEntryV1 {
        /// The library's number of the entry's type.
        pub entry_type: u8,
        pub term: u64,
        pub index: u64,
        /// Of the body.
        pub data_bytes: u32,
        pub context: Vec<u8>,
    }

    pub struct RaftSnapshotV1 {
        pub index: u64,
        pub term: u64,
        pub voters: RaftVotersV1,
        /// Of the body; what is larger than a frame comes as chunks before, and this is 0.
        pub data_bytes: u32,
    }

    /// The configuration of the quorum at a snapshot.
    pub struct RaftVotersV1 {
        pub voters: Vec<u64>,
        pub learners: Vec<u64>,
        pub voters_outgoing: Vec<u64>,
        pub learners_next: Vec<u64>,
        pub auto_leave: bool,
    }

    pub struct RaftSnapshotChunkV1 {
        pub to: u64,
        pub from: u64,
        pub term: u64,
        /// Of the snapshot's last entry.
        pub index: u64,
        /// Where the body belongs in the snapshot's bytes.
        pub position: u64,
        pub total_bytes: u64,
    }
}
