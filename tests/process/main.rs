//! Tests of worker processes.

fn main() {
    concurrent::futures::process::init();
    use concurrent::futures::*;
    let t = std::time::Instant::now();
    let pool = ProcessPoolExecutor::new(2).unwrap();
    println!("{:?}", pool.submit(|n: u64| n + 1, 41).unwrap().into_result());
    println!("first {:?}", t.elapsed());
    for _ in 0..3 {
        let t = std::time::Instant::now();
        for i in 0..10000u64 {
            assert_eq!(pool.submit(|n: u64| n + 1, i).unwrap().into_result().unwrap(), i + 1);
        }
        println!("round trip {:?}", t.elapsed() / 10000);
        let t = std::time::Instant::now();
        let fs: Vec<_> = (0..100000u64).map(|i| pool.submit(|n: u64| n + 1, i).unwrap()).collect();
        for (i, f) in fs.into_iter().enumerate() {
            assert_eq!(f.into_result().unwrap(), i as u64 + 1);
        }
        println!("submit {:?}", t.elapsed() / 100000);
        let t = std::time::Instant::now();
        let s: u64 = pool
            .map_with(MapOptions::new().chunk_size(100), |n: u64| n + 1, 0..1000000)
            .unwrap()
            .map(|r| r.unwrap())
            .sum();
        println!("map {:?} {s}", t.elapsed() / 1000000);
        for size in [1usize << 20, 64 << 20] {
            let v = vec![1u8; size];
            let mut v = Some(v);
            for _ in 0..3 {
                let t = std::time::Instant::now();
                let r =
                    pool.submit(|v: Vec<u8>| v, v.take().unwrap()).unwrap().into_result().unwrap();
                println!("echo {:?}", t.elapsed());
                v = Some(r);
            }
            let sb = process::SharedBytes::copy_from(&v.unwrap()).unwrap();
            for _ in 0..3 {
                let t = std::time::Instant::now();
                let r = pool
                    .submit(|v: process::SharedBytes| v.len(), sb.clone())
                    .unwrap()
                    .into_result()
                    .unwrap();
                println!("shared {:?} {r}", t.elapsed());
            }
        }
    }
    println!("{:?}", pool.submit(|_: u64| -> u64 { panic!("boo") }, 41).unwrap().into_result());
    println!("{:?}", pool);
    println!(
        "{:?}",
        pool.submit(|_: u64| -> u64 { std::process::exit(3) }, 41)
            .unwrap()
            .into_result()
            .unwrap_err()
            .to_string()
    );
    println!(
        "{:?}",
        pool.submit(|_: u64| -> u64 { std::process::exit(3) }, 41).unwrap_err().to_string()
    );
    let t = std::time::Instant::now();
    drop(pool);
    println!("drop {:?}", t.elapsed());
}
