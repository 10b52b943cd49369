//! The states of a transactional id, with Kafka's names and numbers.

/// Where a transactional id stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum TxnState {
    /// A producer has it and no transaction was ever begun, or none since the producer began.
    Empty = 0,
    /// Partitions have joined; undecided.
    Ongoing = 1,
    /// Decided: commit. Markers are being written.
    PrepareCommit = 2,
    /// Decided: abort. Markers are being written.
    PrepareAbort = 3,
    /// Every marker of the commit is written.
    CompleteCommit = 4,
    /// Every marker of the abort is written.
    CompleteAbort = 5,
    /// Being forgotten. Kafka's coordinator passes through it in memory; ours writes the tombstone at once.
    Dead = 6,
    /// About to be aborted with a higher epoch. Kafka's coordinator passes through it in memory; ours decides at once.
    PrepareEpochFence = 7,
}

impl TxnState {
    /// Every state, by number.
    pub const ALL: [TxnState; 8] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::PrepareCommit,
        TxnState::PrepareAbort,
        TxnState::CompleteCommit,
        TxnState::CompleteAbort,
        TxnState::Dead,
        TxnState::PrepareEpochFence,
    ];

    /// Kafka's number, as the log has it.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// `None` for a number that Kafka does not know.
    pub fn from_code(code: i8) -> Option<TxnState> {
        TxnState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Kafka's name, as descriptions and filters spell it.
    pub fn name(self) -> &'static str {
        match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::PrepareCommit => "PrepareCommit",
            TxnState::PrepareAbort => "PrepareAbort",
            TxnState::CompleteCommit => "CompleteCommit",
            TxnState::CompleteAbort => "CompleteAbort",
            TxnState::Dead => "Dead",
            TxnState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// `None` for a name that is not exactly one of Kafka's.
    pub fn from_name(name: &str) -> Option<TxnState> {
        TxnState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Decided, with markers still owed.
    pub fn is_decided(self) -> bool {
        matches!(self, TxnState::PrepareCommit | TxnState::PrepareAbort)
    }

    /// Nothing is open: the id may begin a transaction, get another producer, or expire.
    pub fn is_at_rest(self) -> bool {
        matches!(
            self,
            TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort
        )
    }
}
