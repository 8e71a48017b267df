//! Time stamps of RFC 3161: requests, answers, and their check against an authority's root.
