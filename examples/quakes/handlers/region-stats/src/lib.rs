//! Counts earthquakes by region and keeps the strongest of each.
