//! Circles in a graph: nodes that each lead to all others of the circle.

use std::collections::{BTreeMap, BTreeSet};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// All nodes that a node leads to, over any number of steps.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(node) = next.pop() {
        for to in graph.get(node).into_iter().flatten() {
            if seen.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    seen
}

/// The circles, each sorted by name.
pub fn of(graph: &Graph) -> Vec<Vec<String>> {
    let reached: Graph = graph.keys().map(|node| (node.clone(), reached(graph, node))).collect();
    let circle = |node: &String| -> Vec<String> {
        let back = |other: &&String| reached.get(*other).is_some_and(|all| all.contains(node));
        reached[node].iter().filter(back).cloned().collect()
    };
    let circles: BTreeSet<Vec<String>> = graph.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    circles.into_iter().collect()
}

/// The nodes, each after those that it uses; those of a circle by how much they lead to.
pub fn from_below(graph: &Graph) -> Vec<String> {
    let mut nodes: Vec<String> = graph.keys().cloned().collect();
    nodes.sort_by_key(|node| (reached(graph, node).len(), node.clone()));
    nodes
}
