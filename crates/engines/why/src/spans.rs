//! Address blocks in an order in which the one that decides is found at once.

use lictor_model::Cidr;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Blocks, of which any two are apart or one within the other: the deepest that holds an address says which all do.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// By family: where another block becomes the deepest, ascending, and its number.
    of: [Vec<(u128, Option<usize>)>; 2],
}

impl Spans {
    /// The blocks, numbered in their order.
    pub(crate) fn of(blocks: &BTreeSet<Cidr>) -> Self {
        let of = [true, false].map(|v4| {
            let family = blocks.iter().enumerate().filter(|(_, block)| block.network().is_ipv4() == v4);
            let mut ranges: Vec<(u128, u128, usize)> =
                family.map(|(number, block)| (bits(block.network()), bits(block.last()), number)).collect();
            // A wider block comes before those that it covers.
            ranges.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
            spans(&ranges)
        });
        Self { of }
    }

    /// The number of the deepest block that holds an address.
    pub(crate) fn deepest(&self, address: IpAddr) -> Option<usize> {
        let address = address.to_canonical();
        let spans = &self.of[usize::from(address.is_ipv6())];
        let after = spans.partition_point(|(first, _)| *first <= bits(address));
        spans.get(after.checked_sub(1)?)?.1
    }
}

fn spans(ranges: &[(u128, u128, usize)]) -> Vec<(u128, Option<usize>)> {
    let mut spans: Vec<(u128, Option<usize>)> = Vec::new();
    let mut open: Vec<(u128, usize)> = Vec::new();
    let mut begin = |at: u128, deepest| match spans.last_mut() {
        Some(last) if last.0 == at => last.1 = deepest,
        _ => spans.push((at, deepest)),
    };
    for (first, last, number) in ranges {
        while let Some((end, _)) = open.pop_if(|(end, _)| *end < *first) {
            begin(end + 1, open.last().map(|(_, outer)| *outer));
        }
        open.push((*last, *number));
        begin(*first, Some(*number));
    }
    while let Some((end, _)) = open.pop() {
        if let Some(after) = end.checked_add(1) {
            begin(after, open.last().map(|(_, outer)| *outer));
        }
    }
    spans
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::Spans;
    use lictor_model::Cidr;
    use std::collections::BTreeSet;

    #[test]
    fn the_deepest_block_is_the_longest_that_holds_an_address() {
        let texts =
            ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.1.2.3/32", "255.255.255.255/32", "fd00::/8"];
        let blocks: BTreeSet<Cidr> = texts.iter().map(|text| text.parse().expect("a block")).collect();
        let spans = Spans::of(&blocks);
        for text in [
            "0.0.0.0",
            "9.9.9.9",
            "10.0.0.0",
            "10.0.255.255",
            "10.1.2.2",
            "10.1.2.3",
            "10.1.2.4",
            "10.2.0.0",
            "11.0.0.0",
            "255.255.255.255",
            "::1",
            "fd00::1",
            "fe00::1",
            "::ffff:10.1.2.3",
        ] {
            let address: std::net::IpAddr = text.parse().expect("an address");
            let holding = blocks.iter().enumerate().filter(|(_, block)| block.contains(address));
            let longest = holding.max_by_key(|(_, block)| block.prefix()).map(|(number, _)| number);
            assert_eq!(spans.deepest(address), longest, "{text}");
        }
    }
}
