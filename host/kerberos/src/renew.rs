//! A ticket cache that other processes read, kept fresh from a keytab.
