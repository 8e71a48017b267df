//! Searching bytes for the made-up customers' values: what a thief would look for.

use aho_corasick::AhoCorasick;
use anyhow::Result;
use demo_data::Customer;

/// All values of all customers that say who someone is.
pub struct Values {
    searcher: AhoCorasick,
}

impl Values {
    /// Telephone numbers (as written, digits alone, E.164), e-mail addresses, names, addresses.
    pub fn new(customers: impl Iterator<Item = Customer>) -> Result<Self> {
        let mut values = Vec::new();
        for customer in customers {
            let digits: String = customer
                .phone
                .expose()
                .chars()
                .filter(char::is_ascii_digit)
                .collect();
            values.push(format!("+81{}", digits.trim_start_matches('0')));
            values.push(digits);
            values.push(customer.phone.expose().clone());
            values.push(customer.email.expose().clone());
            values.push(customer.name.expose().clone());
            values.push(customer.address.expose().clone());
        }
        Ok(Self {
            searcher: AhoCorasick::new(values)?,
        })
    }

    /// How many places of `bytes` hold one of them.
    pub fn found_in(&self, bytes: &[u8]) -> usize {
        self.searcher.find_iter(bytes).count()
    }
}
