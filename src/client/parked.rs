//! What a consumer cannot read now, and when it tries again.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, Instant};

use futures_lite::future::or;

use crate::rt;

use super::backoff::Backoff;
use super::cluster::new_backoff;
use super::error::ClientError;

/// The partitions of a consumer that are not asked for before their leaders have been learned anew, while the others
/// are read on. It keeps its times itself, so that a poll may be dropped while it waits.
pub(super) struct Parked {
    waiting: BTreeSet<i32>,
    /// Asked for again, and not known to be served yet: what others answer says nothing of them.
    tried: BTreeSet<i32>,
    /// When everything had been asked for again, if nothing has been said against it since.
    stands_since: Option<Instant>,
    learn_at: Option<Instant>,
    backoff: Backoff,
    failing: Option<Failing>,
}

/// Errors that are tried again.
struct Failing {
    since: Instant,
    last: ClientError,
}

/// What has been asked for and nothing was said against for so long is served, where nobody answers. Longer than what a
/// broker takes to refuse it.
const STANDS_AFTER: Duration = Duration::from_secs(5);

impl Parked {
    pub fn new() -> Parked {
        Parked {
            waiting: BTreeSet::new(),
            tried: BTreeSet::new(),
            stands_since: None,
            learn_at: None,
            backoff: new_backoff(),
            failing: None,
        }
    }

    pub fn contains(&self, partition: i32) -> bool {
        self.waiting.contains(&partition)
    }

    /// They cannot be read now; [`Parked::on_error`] is told why.
    pub fn park(&mut self, partitions: impl IntoIterator<Item = i32>) {
        // What had stood until now was served, and this is a trouble of its own.
        if self.has_stood() {
            self.settle();
        }
        self.stands_since = None;
        for partition in partitions {
            self.tried.remove(&partition);
            self.waiting.insert(partition);
        }
    }

    /// The last error of what is tried again.
    pub fn trouble(&self) -> Option<&ClientError> {
        let failing = self.failing.as_ref().filter(|_| !self.has_stood())?;
        Some(&failing.last)
    }

    /// Whether the leaders are to be learned anew now.
    pub fn is_due(&self) -> bool {
        match self.learn_at {
            Some(at) => at <= Instant::now(),
            // The poll that parked them was dropped, or gave its error to the caller, who tries again.
            None => !self.waiting.is_empty(),
        }
    }

    /// The leaders have been learned anew, or cannot be: everything is asked for again.
    pub fn release(&mut self) {
        self.learn_at = None;
        self.tried.append(&mut self.waiting);
    }

    /// Everything that is not parked has been asked for, by a wire that answers only with records or errors.
    pub fn on_asked(&mut self) {
        if self.waiting.is_empty() && self.failing.is_some() {
            self.stands_since.get_or_insert_with(Instant::now);
        }
    }

    /// An answer without an error came for them.
    pub fn on_served(&mut self, partitions: impl IntoIterator<Item = i32>) {
        if self.failing.is_none() && self.tried.is_empty() {
            return;
        }
        for partition in partitions {
            // Those that wait were refused, and go on waiting.
            self.tried.remove(&partition);
        }
        if self.waiting.is_empty() && self.tried.is_empty() {
            self.settle();
        }
    }

    /// The partition is read no longer.
    pub fn forget(&mut self, partition: i32) {
        self.waiting.remove(&partition);
        self.on_served([partition]);
    }

    /// What `arriving` brings; `None` if the leaders are to be learned anew before.
    pub async fn until_due<T>(&self, arriving: impl Future<Output = T>) -> Option<T> {
        let Some(at) = self.learn_at else {
            return Some(arriving.await);
        };
        let arriving = async { Some(arriving.await) };
        let wait = async {
            rt::sleep(at.saturating_duration_since(Instant::now())).await;
            None
        };
        or(arriving, wait).await
    }

    /// Sets the time at which the leaders are learned anew, unless the error is final or has lasted for `retry_for`.
    pub fn on_error(&mut self, error: ClientError, retry_for: Duration) -> Result<(), ClientError> {
        let now = Instant::now();
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        self.failing = Some(Failing {
            since,
            last: error.clone(),
        });
        if self.learn_at.is_some() && error.is_retriable() {
            return Ok(());
        }
        let wait = self.backoff.next_wait();
        if !error.is_retriable() || now - since + wait > retry_for {
            return Err(error);
        }
        self.learn_at = Some(now + wait);
        Ok(())
    }

    fn has_stood(&self) -> bool {
        self.stands_since
            .is_some_and(|since| since.elapsed() >= STANDS_AFTER)
    }

    /// All is served: the next error begins anew.
    fn settle(&mut self) {
        self.tried.clear();
        self.stands_since = None;
        if self.failing.take().is_some() {
            self.backoff = new_backoff();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn lost() -> ClientError {
        ClientError::Closed {
            address: "a:1".to_owned(),
        }
    }

    /// Some partitions that failed and were asked for again.
    fn tried_again(partitions: &[i32]) -> Parked {
        let mut parked = Parked::new();
        parked.park(partitions.iter().copied());
        assert_eq!(parked.on_error(lost(), PATIENCE), Ok(()));
        assert!(parked.contains(partitions[0]) && !parked.is_due());
        parked.release();
        assert!(!parked.contains(partitions[0]));
        parked
    }

    /// What was lost: the patience. A healthy broker's answer, come before the other one refused again, ended the
    /// trouble, which began anew for ever.
    #[test]
    fn what_one_partition_answers_does_not_end_the_trouble_of_another() {
        let mut parked = tried_again(&[1, 2]);
        parked.on_served([0, 2]);
        assert_eq!(parked.trouble(), Some(&lost()), "1 is not served yet");
        parked.park([1]);
        let lasted = parked.on_error(lost(), Duration::ZERO);
        assert_eq!(lasted, Err(lost()), "it has lasted since the first error");
        parked.release();
        parked.on_served([1]);
        assert_eq!(parked.trouble(), None);
    }

    /// What was lost: the patience, with a broker that accepts and answers nothing for longer than what is asked for by
    /// subscription takes to stand.
    #[test]
    fn what_is_answered_is_not_over_before_it_is() {
        let mut parked = tried_again(&[1]);
        let long_ago = Instant::now() - 2 * STANDS_AFTER;
        parked.failing.as_mut().expect("it fails").since = long_ago;
        assert!(parked.trouble().is_some());
        parked.park([1]);
        parked.learn_at = None;
        assert_eq!(parked.on_error(lost(), STANDS_AFTER), Err(lost()));
    }

    #[test]
    fn what_is_only_asked_for_is_over_once_it_has_stood() {
        let mut parked = tried_again(&[1]);
        parked.on_asked();
        assert!(parked.trouble().is_some(), "it may be refused yet");
        parked.stands_since = Some(Instant::now() - STANDS_AFTER);
        parked.on_asked();
        assert_eq!(parked.trouble(), None);
        let first = parked.failing.as_ref().expect("nobody has looked").since;
        std::thread::sleep(Duration::from_millis(1));
        parked.park([2]);
        assert_eq!(parked.on_error(lost(), PATIENCE), Ok(()));
        let second = parked.failing.as_ref().expect("it fails").since;
        assert!(second > first, "a trouble of its own");
    }

    #[test]
    fn a_partition_that_is_read_no_longer_is_no_trouble() {
        let mut parked = tried_again(&[1]);
        parked.park([2]);
        parked.forget(1);
        assert!(parked.trouble().is_some());
        parked.forget(2);
        assert_eq!(parked.trouble(), None);
        assert!(!parked.contains(2));
    }

    #[test]
    fn a_final_error_is_given_to_the_caller_at_once_and_the_next_poll_tries_again() {
        let mut parked = Parked::new();
        parked.park([1]);
        let error = ClientError::Invalid("x".to_owned());
        assert_eq!(parked.on_error(error.clone(), PATIENCE), Err(error));
        assert!(parked.is_due());
    }
}
