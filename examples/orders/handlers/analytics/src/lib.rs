//! Counts orders and revenue by currency.
