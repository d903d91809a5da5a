//! Tells the customer that an order was placed.
