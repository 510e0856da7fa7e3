//! Chains whose objects are looked for: what is asked, and what is told of one that is not there.
//!
//! Does not own: that every store gives the same verdict (`contract`).

use std::time::Duration;

use packhorse_model::ErrorKind;
use packhorse_testkit::{FaultyS3, Operation};

use super::{contract::key, stores};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_are_asked_for_by_one_listing() {
    let server = FaultyS3::start();
    let vault = stores::faulty(&server, Duration::from_secs(5));
    let mut objects = Vec::new();
    // What lies before, between and behind them does not matter.
    for number in [1, 2, 3, 4, 5, 6, 7, 8, 9] {
        for kind in ["bundle", "refs"] {
            let object = key(&format!("s/r.git/{number}/00{number}.{kind}"));
            objects.push(vault.create(&object, vec![0; number].into()).await.expect("create"));
        }
        vault.create(&key(&format!("s/r.git/{number}/other")), "x".into()).await.expect("create");
    }
    let chain = &objects[4..14];
    let asked = |operation| server.log().iter().filter(|request| request.operation == operation).count();
    let before = asked(Operation::List);
    vault.check_present(chain).await.expect("all are there");
    assert_eq!((asked(Operation::List) - before, asked(Operation::Head)), (1, 0));

    // Keys of somebody else's, which are no paths of ours, are in nobody's way.
    server.put_object("some/prefix/s/r.git/4//odd", "x");
    vault.check_present(chain).await.expect("all are there");
    assert!(asked(Operation::Head) == 0);
    server.remove_object("some/prefix/s/r.git/4//odd");

    let gone = &chain[7];
    server.remove_object(&format!("some/prefix/{}", gone.path));
    let error = vault.check_present(chain).await.expect_err("one is gone");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains(&gone.path), "{error}");
    server.put_object(&format!("some/prefix/{}", gone.path), vec![0; 100]);
    let error = vault.check_present(chain).await.expect_err("one has another size");
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(&gone.path), "{error}");
}
