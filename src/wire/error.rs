//! The frame that says no.

use super::schema::frozen;

frozen! {
    /// Why a frame is not served. Carries the correlation number of that frame; 0 where it is about the connection.
    pub struct ErrorV1 {
        /// Kafka's code.
        pub code: i16,
        /// For people.
        pub message: String,
        /// The connection is closed after this frame.
        pub closes: bool,
    }
}
