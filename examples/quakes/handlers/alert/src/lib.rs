//! Publishes an alert for every strong earthquake.
