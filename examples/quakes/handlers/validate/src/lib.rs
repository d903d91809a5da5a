//! Rejects records that are not earthquakes as the catalogue describes them.
