//! One suite for every executor, hostile files and structure.
