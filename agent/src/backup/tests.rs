//! Tests of the backup pipeline on repositories made by real git.
