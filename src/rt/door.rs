//! How a thread that is no shard's asks a shard: by a message through a door, and by nothing else that they share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::doorbell::{Doorbell, own_bell};

/// Leads to one shard, from any thread. Clones lead to the same.
pub struct Door<T>(Arc<Passage<T>>);

/// The shard's side; opened on its executor.
pub struct DoorKeeper<T>(Arc<Passage<T>>);

struct Passage<T> {
    waiting: Mutex<VecDeque<T>>,
    /// How many may wait.
    most: usize,
    bell: OnceLock<Doorbell>,
}

/// As many wait as may; holds what was to be sent.
#[derive(Debug)]
pub struct DoorFull<T>(pub T);

/// A door, and the side of it that answers. What is sent before the shard runs waits for it.
///
/// - `most`: messages that may wait; past it the sender is told at once.
pub fn door<T: Send>(most: usize) -> (Door<T>, DoorKeeper<T>) {
    let passage = Arc::new(Passage {
        waiting: Mutex::default(),
        most,
        bell: OnceLock::new(),
    });
    (Door(passage.clone()), DoorKeeper(passage))
}

impl<T: Send> Door<T> {
    /// Never waits.
    pub fn send(&self, message: T) -> Result<(), DoorFull<T>> {
        {
            let mut waiting = self
                .0
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= self.0.most {
                return Err(DoorFull(message));
            }
            waiting.push_back(message);
        }
        if let Some(bell) = self.0.bell.get() {
            bell.ring();
        }
        Ok(())
    }
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Door<T> {
        Door(self.0.clone())
    }
}

impl<T: Send> DoorKeeper<T> {
    /// Hands every message to `take`, for as long as the executor of this thread lives.
    pub async fn attend(self, mut take: impl FnMut(T)) {
        let bell = own_bell();
        // Hung up before the first look; nothing rings between a look and the wait, for a task of this thread answers.
        let _ = self.0.bell.set(bell.remote.clone());
        loop {
            let next = self
                .0
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match next {
                Some(message) => take(message),
                None => bell.rung.wait().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{Queue, oneshot, run_local, spawn};
    use std::cell::Cell;

    #[test]
    fn what_other_threads_send_arrives_in_order_and_a_full_door_says_so() {
        let (door, keeper) = door(3);
        door.send(1).unwrap();
        door.send(2).unwrap();
        door.send(3).unwrap();
        assert!(matches!(door.send(4), Err(DoorFull(4))));
        let sum = run_local(async move {
            let (sender, done) = oneshot();
            let (got, sender) = (Cell::new(Vec::new()), Cell::new(Some(sender)));
            spawn(
                Queue::Net,
                "door",
                keeper.attend(move |number: i32| {
                    let mut all = got.take();
                    all.push(number);
                    if number == 9
                        && let Some(sender) = sender.take()
                    {
                        let _ = sender.send(all.clone());
                    }
                    got.set(all);
                }),
            );
            let later = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                door.send(9).unwrap();
            });
            let all = done.await.expect("the last message");
            later.join().expect("the sender");
            all
        });
        assert_eq!(sum.expect("an executor"), [1, 2, 3, 9]);
    }
}
