//! Where partitions are led, as the producers of one thread know it, and asking again when one of them doubts it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::rt;

use super::target::{Place, Spot, Target};

/// What was learned last. Anything in it may be out of date: who is told so, or loses a connection, doubts it.
pub struct Leaders {
    target: RefCell<Target>,
    generation: Cell<u64>,
    is_asking: Cell<bool>,
    asked_at: Cell<Option<Instant>>,
}

impl Leaders {
    pub fn new(target: Target) -> Rc<Leaders> {
        Rc::new(Leaders {
            target: RefCell::new(target),
            generation: Cell::new(0),
            is_asking: Cell::new(false),
            asked_at: Cell::new(None),
        })
    }

    pub fn target(&self) -> Target {
        self.target.borrow().clone()
    }

    /// How often they were learned anew.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// - `Err`: nobody is known to lead the partition now.
    pub fn place(&self, spot: Spot) -> Result<Place, ClientError> {
        self.target.borrow().place(spot)
    }

    /// Asks for the leaders in the background, but not more often than ten times a second. Who still has doubts when that
    /// has failed says so again.
    pub fn doubt(self: &Rc<Leaders>) {
        if self.is_asking.replace(true) {
            return;
        }
        let own = self.clone();
        rt::spawn(rt::Queue::Net, "load leaders", async move {
            own.ask().await;
            own.is_asking.set(false);
        });
    }

    async fn ask(&self) {
        if let Some(at) = self.asked_at.get() {
            rt::sleep(ASK_INTERVAL.saturating_sub(at.elapsed())).await;
        }
        self.asked_at.set(Some(Instant::now()));
        let target = self.target();
        if let Ok(learned) = target.learned_anew().await {
            self.target.replace(learned);
            self.generation.set(self.generation.get() + 1);
        }
    }
}

const ASK_INTERVAL: Duration = Duration::from_millis(100);
