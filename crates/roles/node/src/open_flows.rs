//! The kernel's connections that are open, and the decision of each, so that its close can name it.

use std::collections::{HashMap, VecDeque};

/// Decisions by flow, no more than a limit: the oldest is forgotten for a new one, as its close may never come (the
/// kernel forgets connections without a word when it has no room).
#[derive(Debug)]
pub(crate) struct OpenFlows {
    limit: usize,
    decisions: HashMap<u64, u64>,
    /// Flows in the order they came; those that closed are among them until their turn comes.
    order: VecDeque<u64>,
}

impl OpenFlows {
    /// Room for so many, at least one.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit: limit.max(1), decisions: HashMap::new(), order: VecDeque::new() }
    }

    /// A flow began with a decision.
    pub(crate) fn begin(&mut self, flow: u64, decision: u64) {
        while self.decisions.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.decisions.remove(&oldest);
        }
        if self.order.len() >= 2 * self.limit {
            let Self { decisions, order, .. } = self;
            order.retain(|flow| decisions.contains_key(flow));
        }
        if self.decisions.insert(flow, decision).is_none() {
            self.order.push_back(flow);
        }
    }

    /// A flow ended; the decision that it began with, if it is remembered.
    pub(crate) fn end(&mut self, flow: u64) -> Option<u64> {
        self.decisions.remove(&flow)
    }
}

#[cfg(test)]
mod tests {
    use super::OpenFlows;

    #[test]
    fn the_oldest_is_forgotten_for_a_new_one() {
        let mut open = OpenFlows::with_limit(3);
        for flow in 1..=3 {
            open.begin(flow, flow * 10);
        }
        assert_eq!(open.end(1), Some(10));
        open.begin(4, 40);
        open.begin(5, 50);
        assert_eq!([1, 2, 3, 4, 5].map(|flow| open.end(flow)), [None, None, Some(30), Some(40), Some(50)]);
    }

    #[test]
    fn what_is_remembered_of_closed_flows_is_bounded() {
        let mut open = OpenFlows::with_limit(4);
        open.begin(0, 7);
        for flow in 1..1_000 {
            open.begin(flow, flow);
            assert_eq!(open.end(flow), Some(flow));
            assert!(open.order.len() <= 8, "{}", open.order.len());
        }
        assert_eq!(open.end(0), Some(7), "a long one outlives the short ones");
    }
}
