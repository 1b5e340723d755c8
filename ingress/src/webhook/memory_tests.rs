use std::time::Duration;

use super::*;

const MAX_BODY: usize = shared::envelope::MAX_PAYLOAD;

fn client(n: u8) -> Client {
    Client::of([192, 0, 2, n].into())
}

fn share(memory: &Memory, n: u8) -> Share {
    memory.share(client(n), 1)
}

fn free(memory: &Memory) -> [usize; 3] {
    [&memory.0.small, &memory.0.large, &memory.0.work].map(|pool| pool.free.available_permits())
}

#[tokio::test(start_paused = true)]
async fn huge_bodies_wait_for_each_other_and_never_for_long() {
    let memory = Memory::new(64);
    let mut first = share(&memory, 1);
    first.cover(SMALL_BODY + 1, MAX_BODY).await.unwrap();
    let mut second = share(&memory, 2);
    assert_eq!(second.cover(SMALL_BODY + 1, MAX_BODY).await, Err(Refusal::Overloaded));
    share(&memory, 2).cover(SMALL_BODY, SMALL_BODY).await.unwrap();
    drop(first);
    second.cover(MAX_BODY, MAX_BODY).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_small_body_takes_what_has_arrived() {
    let memory = Memory::new(64);
    let [before, ..] = free(&memory);
    let mut one = share(&memory, 1);
    one.cover(1, SMALL_BODY).await.unwrap();
    assert_eq!(before - free(&memory)[0], 1, "one unit, not what was announced");
    one.cover(SMALL_BODY, SMALL_BODY).await.unwrap();
    assert_eq!(before - free(&memory)[0], SMALL_BODY / UNIT);
    let mut form = memory.share(client(1), 2);
    form.cover(UNIT, SMALL_BODY).await.unwrap();
    assert_eq!(before - free(&memory)[0], SMALL_BODY / UNIT + 2, "a form is decoded into a copy");
    drop((one, form));
    assert_eq!(free(&memory)[0], before);
}

#[tokio::test(start_paused = true)]
async fn memory_is_held_until_the_last_of_its_bytes_is_gone() {
    let memory = Memory::new(64);
    let before = free(&memory);
    let mut body = share(&memory, 1);
    body.cover(MAX_BODY, MAX_BODY).await.unwrap();
    let body = body.bind(Bytes::from(vec![0; 10]));
    let part = body.slice(3..5);
    let work = memory.work(client(1), 2 * MAX_BODY).await.unwrap();
    drop(body);
    let made = work.bind(Bytes::from(vec![0; UNIT + 1]));
    assert_eq!(free(&memory), [before[0], before[1] - MAX_BODY / UNIT, before[2] - 2]);
    drop(part);
    drop(made);
    assert_eq!(free(&memory), before);
}

#[tokio::test(start_paused = true)]
async fn one_client_leaves_memory_for_others() {
    let memory = Memory::new(128);
    let mut held = Vec::new();
    loop {
        let mut body = share(&memory, 1);
        if body.cover(SMALL_BODY + 1, 10 * SMALL_BODY).await.is_err() {
            break;
        }
        held.push(body);
    }
    assert!(held.len() > 10, "{}", held.len());
    share(&memory, 2).cover(MAX_BODY, MAX_BODY).await.unwrap();
}

/// A large body that comes at so many bytes a second and has come for 4 s.
async fn arriving(memory: &Memory, n: u8, rate: usize) -> Share {
    let mut body = share(memory, n);
    body.arrives(Instant::now(), 0);
    body.cover(SMALL_BODY + 1, MAX_BODY).await.unwrap();
    body.arriving.as_ref().unwrap().read.store(4 * rate, Ordering::Relaxed);
    body
}

#[tokio::test(start_paused = true)]
async fn the_slowest_body_gives_way_when_memory_is_short() {
    let memory = Memory::new(128);
    let bodies =
        [arriving(&memory, 1, 20_000).await, arriving(&memory, 2, 10_000).await, arriving(&memory, 3, 30_000).await];
    tokio::time::advance(Duration::from_secs(4)).await;
    let [one, slowest, three] = bodies;
    let gives_way = async {
        slowest.gives_way().await;
        drop(slowest);
    };
    let mut news = share(&memory, 4);
    let (covered, ()) = futures::future::join(news.cover(MAX_BODY, MAX_BODY), gives_way).await;
    assert_eq!(covered, Ok(()));
    for other in [one, three] {
        assert!(timeout(Duration::from_secs(1), other.gives_way()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_fast_does_not_give_way() {
    let memory = Memory::new(64);
    let fast = arriving(&memory, 1, SLOW_RATE).await;
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(share(&memory, 2).cover(MAX_BODY, MAX_BODY).await, Err(Refusal::Overloaded));
    assert!(timeout(Duration::from_secs(1), fast.gives_way()).await.is_err());
}
