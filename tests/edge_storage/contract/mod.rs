//! The contract of a store: the same tests for each implementation of the port.

mod deletion;
mod folder;
mod killed;
mod kit;
mod listing;
mod names;
mod whole;
mod writers;

/// Defines each test of the contract for one implementation. `$alone` creates a store that no other test uses, for
/// tests that keep it busy; `$one_wins` creates one that lets only one of two writers win at the same moment. Without
/// them, these tests are left out.
macro_rules! contract {
    ($name:ident, $ready:path $(, alone $alone:path)? $(, one_wins $one_wins:path)?) => {
        mod $name {
            use super::{deletion, killed, listing, names, whole};

            #[tokio::test]
            async fn files_of_each_size_land_whole() {
                whole::files_of_each_size(&$ready("whole").await).await;
            }

            #[tokio::test]
            async fn an_object_is_never_overwritten() {
                whole::never_overwritten(&$ready("never").await).await;
            }

            #[tokio::test]
            async fn a_part_that_is_written_twice_with_other_bytes_is_not_mixed() {
                whole::a_part_twice(&$ready("twice").await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn killed_at_each_await_point_and_continued() {
                killed::at_each_await_point(&$ready("killed").await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_commit_whose_answer_is_lost_is_found_done() {
                killed::answer_lost(&$ready("lost").await).await;
            }

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn twenty_thousand_objects_are_listed() {
                    listing::many(&$alone("many").await).await;
                }
            )?

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn of_two_writers_one_wins_whole() {
                    super::writers::two_at_once(&$one_wins("writers").await).await;
                }
            )?

            #[tokio::test]
            async fn listings_show_committed_objects_only() {
                listing::committed_only(&$ready("committed").await).await;
            }

            #[tokio::test]
            async fn no_name_leads_out_of_the_container() {
                names::from_the_servers_hand(&$ready("names").await).await;
            }

            #[tokio::test]
            async fn small_objects_are_stored_once() {
                names::small_objects(&$ready("small").await).await;
            }

            #[tokio::test]
            async fn the_folder_of_a_run_is_deleted_with_its_proof() {
                deletion::with_its_proof(&$ready("deleted").await).await;
            }
        }
    };
}

contract!(
    on_azurite, super::kit::azurite, alone super::kit::azurite_of_its_own, one_wins super::kit::azurite
);
contract!(on_a_folder, super::kit::folder, alone super::kit::folder, one_wins super::kit::folder);
contract!(on_a_volume, super::kit::volume, alone super::kit::volume, one_wins super::kit::volume);
// Both S3 stores look for an object and create it in two steps, so of two writers at the same moment both may win.
contract!(on_versity, super::kit::versity, alone super::kit::versity_of_its_own);
// It answers some hundred requests a second, and an S3 store is asked for the marks of each object.
contract!(on_moto, super::kit::moto);
