//! Charges an order and says so.
