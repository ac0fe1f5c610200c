//! Items through iceoryx2, the way its own examples for event-based communication do it: a publish-subscribe service
//! carries the bytes, an event service wakes the other side. A service reaches all its subscribers, so each worker has
//! one of its own; the sums come back over one that all share.
//!
//! Options and output are those of vidmill's own example `hand_over`. `--name` is a prefix for all that is left in
//! `/dev/shm`, `--root` a folder for the rest: whoever starts this can clean up even after a kill.

use std::collections::HashSet;
use std::error::Error;
use std::os::unix::process::parent_id;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use iceoryx2::node::Node;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

type Failure = Box<dyn Error>;
type Ipc = ipc::Service;
/// The item's number and the sum over its words.
type Sum = [u64; 2];

/// As many items are under way at most, and as many payloads take turns.
const IN_FLIGHT: usize = 4;
const WORDS_PER_PAGE: usize = 512;
const WARM_UP: u64 = 16;
/// The number of an item that tells its worker to end.
const END: u64 = u64::MAX;

fn main() -> Result<(), Failure> {
    set_log_level(LogLevel::Error);
    let options = Options::parse()?;
    match options.worker {
        Some(index) => work(&options, index),
        None => lead(&options),
    }
}

struct Options {
    bytes: usize,
    workers: usize,
    items: u64,
    round_trip: bool,
    in_place: bool,
    name: String,
    root: String,
    worker: Option<usize>,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut options = Self {
            bytes: 64,
            workers: 1,
            items: 1000,
            round_trip: false,
            in_place: false,
            name: format!("hand_over_{}_", std::process::id()),
            root: "/tmp/iceoryx2".into(),
            worker: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{option} wants a value"))?;
            match option.as_str() {
                "--bytes" => options.bytes = value.parse()?,
                "--workers" => options.workers = value.parse()?,
                "--items" => options.items = value.parse()?,
                "--mode" => options.round_trip = value == "round-trip",
                "--fill" => options.in_place = value == "in-place",
                "--name" => options.name = value,
                "--root" => options.root = value,
                "--worker" => options.worker = Some(value.parse()?),
                _ => return Err(format!("unknown option {option}").into()),
            }
        }
        Ok(options)
    }

    fn words(&self) -> usize {
        self.bytes / size_of::<u64>()
    }

    fn node(&self) -> Result<Node<Ipc>, Failure> {
        let mut config = Config::default();
        config.global.prefix = self.name.as_str().try_into()?;
        config.global.set_root_path(&self.root.as_str().try_into()?);
        // The default handler would keep a terminated process alive until it next looks.
        let node = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled);
        Ok(node.config(&config).create::<Ipc>()?)
    }
}

type Bytes = publish_subscribe::PortFactory<Ipc, [u64], ()>;
type Sums = publish_subscribe::PortFactory<Ipc, Sum, ()>;
type Wake = event::PortFactory<Ipc>;

fn work_services(node: &Node<Ipc>, index: usize) -> Result<(Bytes, Wake), Failure> {
    let name: ServiceName = format!("work/{index}").as_str().try_into()?;
    let bytes = node.service_builder(&name).publish_subscribe::<[u64]>();
    let bytes = bytes.subscriber_max_buffer_size(IN_FLIGHT).subscriber_max_borrowed_samples(1);
    let bytes = bytes.history_size(0).max_publishers(1).max_subscribers(1).enable_safe_overflow(false);
    Ok((bytes.open_or_create()?, node.service_builder(&name).event().open_or_create()?))
}

fn sum_services(node: &Node<Ipc>) -> Result<(Sums, Wake), Failure> {
    let name: ServiceName = "sums".try_into()?;
    let sums = node.service_builder(&name).publish_subscribe::<Sum>();
    let sums = sums.subscriber_max_buffer_size(IN_FLIGHT).history_size(0).max_subscribers(1);
    Ok((
        sums.enable_safe_overflow(false).open_or_create()?,
        node.service_builder(&name).event().open_or_create()?,
    ))
}

/// A worker: sums each item's words until one says the end or the parent is gone.
fn work(options: &Options, index: usize) -> Result<(), Failure> {
    let parent = parent_id();
    let node = options.node()?;
    let (bytes, wake) = work_services(&node, index)?;
    let (sums, wake_leader) = sum_services(&node)?;
    let publisher = sums.publisher_builder().create()?;
    let notifier = wake_leader.notifier_builder().create()?;
    let subscriber = bytes.subscriber_builder().create()?;
    let listener = wake.listener_builder().create()?; // last: the leader takes it for readiness
    while parent_id() == parent {
        listener.timed_wait(|_| {}, Duration::from_secs(1))?;
        while let Some(sample) = subscriber.receive()? {
            let words = sample.payload();
            if words[0] == END {
                return Ok(());
            }
            let sum = [words[0], sum(words)];
            drop(sample);
            publisher.send_copy(sum)?;
            notifier.notify()?;
        }
    }
    Ok(())
}

fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The leading process: hands items over and checks what comes back.
fn lead(options: &Options) -> Result<(), Failure> {
    let node = options.node()?;
    let (sums, wake) = sum_services(&node)?;
    let links = (0..options.workers)
        .map(|index| Link::start(options, &node, index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut leader = Leader {
        source: Source::new(options),
        subscriber: sums.subscriber_builder().create()?,
        listener: wake.listener_builder().create()?,
        links,
        under_way: Vec::new(),
    };
    for link in &leader.links {
        link.wait_until_ready()?;
    }
    let limit = if options.round_trip { 1 } else { IN_FLIGHT };
    leader.hand_over(WARM_UP, limit)?;
    let processes: Vec<u32> =
        leader.links.iter().map(|link| link.process.id()).chain([std::process::id()]).collect();
    let cpu = cpu_seconds(&processes)?;
    let started = Instant::now();
    let mut times = leader.hand_over(options.items, limit)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(&processes)? - cpu;
    leader.end()?;
    let mut line = format!("\"items\":{},\"seconds\":{seconds},\"cpu_seconds\":{cpu}", options.items);
    if options.round_trip {
        times.sort();
        let [p50, p99] = [0.5, 0.99].map(|share| percentile_us(&times, share));
        line += &format!(",\"p50_us\":{p50},\"p99_us\":{p99}");
    }
    println!("{{{line}}}");
    Ok(())
}

/// What the leader keeps for one worker.
struct Link {
    process: Child,
    publisher: Publisher<Ipc, [u64], ()>,
    notifier: Notifier<Ipc>,
    wake: Wake,
    _bytes: Bytes,
}

impl Link {
    fn start(options: &Options, node: &Node<Ipc>, index: usize) -> Result<Self, Failure> {
        let (bytes, wake) = work_services(node, index)?;
        let publisher =
            bytes.publisher_builder().initial_max_slice_len(options.words()).max_loaned_samples(1);
        let publisher = publisher.create()?;
        let notifier = wake.notifier_builder().create()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--worker", &index.to_string(), "--name", &options.name, "--root", &options.root]);
        Ok(Self { process: command.spawn()?, publisher, notifier, wake, _bytes: bytes })
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while self.wake.dynamic_config().number_of_listeners() == 0 {
            if started.elapsed() > Duration::from_secs(20) {
                return Err("a worker did not start within 20 s".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// What is handed over. In place, the bytes are taken to be in the loaned memory already: it is filled when it is first
/// seen, and later one word in each page is set. Otherwise the item is copied from one of several payloads.
struct Source {
    payloads: Vec<Vec<u64>>,
    filled: HashSet<*const u64>,
    in_place: bool,
    base: u64,
    marks: u64,
}

impl Source {
    fn new(options: &Options) -> Self {
        let stride = if options.in_place { WORDS_PER_PAGE } else { options.words() };
        let mut words: Vec<u64> =
            (0..options.words() as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        words.iter_mut().step_by(stride).for_each(|word| *word = 0);
        Self {
            base: sum(&words),
            marks: options.words().div_ceil(stride) as u64,
            payloads: vec![words; IN_FLIGHT],
            filled: HashSet::new(),
            in_place: options.in_place,
        }
    }

    fn send(&mut self, link: &Link, item: u64) -> Result<(), Failure> {
        let payload = &mut self.payloads[item as usize % IN_FLIGHT];
        let mut sample = link.publisher.loan_slice_uninit(payload.len())?;
        let memory = sample.payload_mut();
        let known = self.in_place && !self.filled.insert(memory.as_ptr().cast());
        if known {
            memory.iter_mut().step_by(WORDS_PER_PAGE).for_each(|word| _ = word.write(item));
            // SAFETY: this memory was filled from a payload when it was first loaned, and the publisher, whose pool it
            // belongs to, still lives.
            unsafe { sample.assume_init() }.send()?;
        } else {
            let stride = if self.in_place { WORDS_PER_PAGE } else { payload.len() };
            payload.iter_mut().step_by(stride).for_each(|word| *word = item);
            sample.write_from_slice(payload).send()?;
        }
        link.notifier.notify()?;
        Ok(())
    }

    fn expected(&self, item: u64) -> u64 {
        self.base.wrapping_add(item.wrapping_mul(self.marks))
    }
}

struct UnderWay {
    item: u64,
    worker: usize,
    started: Instant,
}

struct Leader {
    source: Source,
    links: Vec<Link>,
    subscriber: Subscriber<Ipc, Sum, ()>,
    listener: Listener<Ipc>,
    under_way: Vec<UnderWay>,
}

impl Leader {
    /// Hands `items` over, `limit` at a time; returns how long each took from before it was filled to its sum.
    fn hand_over(&mut self, items: u64, limit: usize) -> Result<Vec<Duration>, Failure> {
        let mut times = Vec::with_capacity(items as usize);
        let mut next = 0;
        while times.len() < items as usize {
            while next < items && self.under_way.len() < limit {
                let worker = self.least_busy();
                self.under_way.push(UnderWay { item: next, worker, started: Instant::now() });
                self.source.send(&self.links[worker], next)?;
                next += 1;
            }
            self.take_sums(&mut times)?;
        }
        Ok(times)
    }

    /// Takes what is there; waits if that is nothing. A wait may end early and with nothing new.
    fn take_sums(&mut self, times: &mut Vec<Duration>) -> Result<(), Failure> {
        let before = times.len();
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            while let Some(sample) = self.subscriber.receive()? {
                let [item, sum] = *sample.payload();
                let place = self.under_way.iter().position(|one| one.item == item);
                let one =
                    self.under_way.swap_remove(place.ok_or("a sum came for an item that is not under way")?);
                times.push(one.started.elapsed());
                if sum != self.source.expected(item) {
                    return Err(format!("item {item}: the sum is wrong").into());
                }
            }
            if times.len() > before {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err("nothing came back within 20 s".into());
            }
            self.listener.timed_wait(|_| {}, Duration::from_secs(1))?;
        }
    }

    fn least_busy(&self) -> usize {
        let load = |worker: &usize| self.under_way.iter().filter(|one| one.worker == *worker).count();
        (0..self.links.len()).min_by_key(load).expect("there is a worker")
    }

    fn end(mut self) -> Result<(), Failure> {
        for link in &mut self.links {
            link.publisher.loan_slice_uninit(1)?.write_from_slice(&[END]).send()?;
            link.notifier.notify()?;
            link.process.wait()?;
        }
        Ok(())
    }
}

/// User and system time of these processes so far, from the kernel's ticks of 10 ms.
fn cpu_seconds(processes: &[u32]) -> Result<f64, Failure> {
    let mut ticks = 0;
    for process in processes {
        let line = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        let after_name = line.rsplit(") ").next().ok_or("no fields in /proc/PID/stat")?;
        let fields: Vec<&str> = after_name.split(' ').collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(ticks as f64 / 100.0)
}

fn percentile_us(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[place].as_secs_f64() * 1e6
}
