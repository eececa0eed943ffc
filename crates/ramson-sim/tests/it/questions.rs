//! Questions to a router that is no floodfill.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::NodeId;
use ramson_wire::codec::Decode;
use ramson_wire::data::Hash;
use ramson_wire::garlic::block::Block;
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::DatabaseStore;
use ramson_wire::i2np::{Kind, Message};

/// Asks, and returns the kinds and bodies of the answers within two seconds.
fn ask(world: &mut World, router: NodeId, question: &DatabaseLookup, times: usize) -> Vec<Message> {
    let floodfill = world.floodfills[0];
    world.net.puppet_mut(floodfill).take_answers();
    for _ in 0..times {
        world.net.ask(floodfill, router, question);
    }
    world.net.run_for(Duration::from_secs(2));
    world.net.puppet_mut(floodfill).take_answers()
}

fn question(world: &World, key: Hash, kind: LookupKind) -> DatabaseLookup {
    let from = world.net.hash(world.floodfills[0]);
    DatabaseLookup { key, from, kind, reply_tunnel: None, excluded: Vec::new(), encryption: None }
}

/// A world in which the first floodfill has a session with the first router, which has a published destination.
fn world() -> (World, NodeId, Hash) {
    let mut world = World::with_puppets(4);
    let router = world.routers[0];
    let (server, hash) = world.destination(router);
    world.wait_for(&[server]);
    world.net.run_for(Duration::from_secs(40));
    (world, router, hash)
}

#[test]
fn a_router_tells_its_own_router_info_and_nothing_else() {
    let (mut world, router, destination) = world();
    let own = world.net.hash(router);
    let other = world.net.hash(world.routers[1]);
    let info = |message: &Message| DatabaseStore::from_bytes(&message.body).is_ok_and(|store| store.key == own);

    let about_itself = question(&world, own, LookupKind::RouterInfo);
    let answers = ask(&mut world, router, &about_itself, 1);
    assert_eq!(answers.iter().filter(|answer| info(answer)).count(), 1, "{answers:?}");

    // Of a router that it knows, and of a key that is its own destination's: the same answer.
    for key in [other, destination, Hash([7; 32])] {
        let about = question(&world, key, LookupKind::RouterInfo);
        let answers = ask(&mut world, router, &about, 1);
        let replies: Vec<_> = answers.iter().filter(|a| a.kind == Kind::DATABASE_SEARCH_REPLY).collect();
        assert_eq!(replies.len(), 1, "{answers:?}");
        let reply = DatabaseSearchReply::from_bytes(&replies[0].body).unwrap();
        assert_eq!(reply, DatabaseSearchReply { key, peers: Vec::new(), from: own });
    }
    for (key, kind) in [
        (destination, LookupKind::LeaseSet),
        (destination, LookupKind::Any),
        (own, LookupKind::Any),
        (destination, LookupKind::Exploration),
        (other, LookupKind::LeaseSet),
    ] {
        let about = question(&world, key, kind);
        let answers = ask(&mut world, router, &about, 1);
        assert!(answers.iter().all(|answer| answer.kind != Kind::DATABASE_SEARCH_REPLY && !info(answer)), "{kind:?}");
    }
}

#[test]
fn the_answer_is_sealed_if_that_was_asked_for() {
    let (mut world, router, _) = world();
    let encryption = Some(ReplyEncryption { key: [3; 32].into(), tag: [4; 8] });
    let question = DatabaseLookup { encryption, ..question(&world, world.net.hash(router), LookupKind::RouterInfo) };
    let answers = ask(&mut world, router, &question, 1);
    let opened = answers.iter().filter_map(|answer| one_time::open(&[3; 32], &answer.body).ok()).next().unwrap();
    let blocks = Block::decode_all(&opened).unwrap();
    let first = blocks.first().unwrap();
    assert!(matches!(first, Block::Clove(clove) if clove.message.kind == Kind::DATABASE_STORE), "{first:?}");
}

#[test]
fn many_questions_get_few_answers() {
    let (mut world, router, _) = world();
    let question = question(&world, Hash([7; 32]), LookupKind::RouterInfo);
    let answers = ask(&mut world, router, &question, 200);
    let replies = answers.iter().filter(|answer| answer.kind == Kind::DATABASE_SEARCH_REPLY).count();
    assert!((10..15).contains(&replies), "{replies}");
}
