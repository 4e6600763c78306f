use proptest::prelude::*;

use super::*;

fn caller(namespace: &str, uid: impl std::fmt::Display) -> Caller {
    Caller {
        kind: CallerKind::Export,
        uid: uid.to_string(),
        namespace: namespace.into(),
        name: uid.to_string(),
    }
}

fn server(name: &str) -> Lane {
    Lane::Server(name.into())
}

fn seats(per_lane: usize, per_namespace: usize) -> Seats {
    Seats::new(SeatLimits { per_lane, per_namespace })
}

fn uids(callers: &[Caller]) -> Vec<&str> {
    callers.iter().map(|caller| caller.uid.as_str()).collect()
}

#[test]
fn a_full_server_holds_up_no_other() {
    let mut all = seats(2, 100);
    let took: Vec<bool> = (0..4).map(|n| all.take(&caller("a", n), &server("tarpit")).0).collect();
    assert_eq!(took, [true, true, false, false]);
    assert!(all.take(&caller("a", "healthy"), &server("other")).0);
    assert!(all.take(&caller("a", "cancel"), &Lane::Cancels("tarpit".into())).0, "a cancel has its own lane");
}

#[test]
fn whoever_came_first_is_next_and_stays_where_it_is_in_line() {
    let mut all = seats(1, 100);
    for n in 0..3 {
        let _ = all.take(&caller("a", n), &server("s"));
    }
    assert!(!all.take(&caller("a", 1), &server("s")).0, "asked again, it still waits");
    assert_eq!(uids(&all.leave("0")), ["1"]);
    assert!(all.take(&caller("a", 1), &server("s")).0, "the seat is its own already");
    assert!(!all.take(&caller("a", 3), &server("s")).0, "nobody gets in ahead of those in line");
    assert!(all.leave("2").is_empty(), "it does not want one any more");
    assert_eq!(uids(&all.leave("1")), ["3"]);
    assert!(all.leave("3").is_empty());
    assert!(all.lanes.is_empty() && all.waits_in.is_empty() && all.of_namespaces.is_empty());
}

#[test]
fn namespaces_take_turns() {
    let mut all = seats(2, 100);
    for n in 0..10 {
        let _ = all.take(&caller("many", n), &server("s"));
    }
    let _ = all.take(&caller("few", "x"), &server("s"));
    assert_eq!(uids(&all.leave("0")), ["x"], "a thousand others of one namespace are not ahead of it");
    assert_eq!(uids(&all.leave("x")), ["2"]);
}

#[test]
fn a_namespace_that_has_all_its_seats_lets_others_pass_and_goes_on_elsewhere() {
    let mut all = seats(2, 2);
    assert!(all.take(&caller("a", 0), &server("s")).0 && all.take(&caller("a", 1), &server("t")).0);
    assert!(!all.take(&caller("a", 2), &server("u")).0, "its namespace has two");
    assert!(all.take(&caller("b", 3), &server("u")).0);
    assert_eq!(uids(&all.leave("0")), ["2"], "the seat that it gave back was in another lane");
}

#[test]
fn whoever_asks_for_another_lane_gives_its_seat_back() {
    let mut all = seats(1, 100);
    assert!(all.take(&caller("a", 0), &server("s")).0);
    assert!(!all.take(&caller("a", 1), &server("s")).0);
    let (took, next) = all.take(&caller("a", 0), &Lane::Storage("s".into()));
    assert_eq!((took, uids(&next)), (true, vec!["1"]));
}

#[test]
fn closed_seats_are_given_to_nobody() {
    let mut all = seats(1, 100);
    assert!(all.take(&caller("a", 0), &server("s")).0);
    assert!(!all.take(&caller("a", 1), &server("s")).0);
    all.close();
    assert!(all.leave("0").is_empty());
    assert!(!all.take(&caller("a", 1), &server("s")).0 && !all.take(&caller("a", 2), &server("t")).0);
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_and_no_seat_stays_free_while_somebody_could_have_it(
        per_lane in 1_usize..4,
        per_namespace in 1_usize..5,
        steps in proptest::collection::vec((0_u8..12, 0_u8..3, proptest::bool::weighted(0.6)), 1..120),
    ) {
        let mut all = seats(per_lane, per_namespace);
        // A caller that was seated by another's leaving must be able to take its seat without waiting.
        for (who, lane, takes) in steps {
            let caller = caller(&(who % 3).to_string(), who);
            let seated = if takes {
                all.take(&caller, &server(&lane.to_string())).1
            } else {
                all.leave(&caller.uid)
            };
            for other in &seated {
                prop_assert!(all.taken.contains_key(&other.uid) && !all.tickets.contains_key(&other.uid));
            }
            for lane in 0..3_u8 {
                let lane = server(&lane.to_string());
                let taken = all.taken.values().filter(|(of, _)| *of == lane).count();
                prop_assert!(taken <= per_lane);
                prop_assert_eq!(all.lanes.get(&lane).map_or(0, |queues| queues.taken), taken);
            }
            for namespace in 0..3_u8 {
                let taken = all.taken.values().filter(|(_, of)| *of == namespace.to_string()).count();
                prop_assert!(taken <= per_namespace);
            }
            for (uid, (lane, _)) in &all.tickets {
                let namespace = (uid.parse::<u8>().unwrap() % 3).to_string();
                prop_assert!(!all.has_room(lane, &namespace), "{} waits although there is room", uid);
            }
        }
    }
}
