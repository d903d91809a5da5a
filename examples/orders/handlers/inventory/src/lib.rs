//! Takes what was ordered out of stock.
