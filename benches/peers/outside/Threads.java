import java.io.File;
import java.io.FileNotFoundException;
import java.util.ArrayList;
import java.util.NoSuchElementException;
import java.util.Scanner;
import java.util.concurrent.AbstractExecutorService;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Future;
import java.util.concurrent.RecursiveTask;
import java.util.concurrent.locks.LockSupport;

/**
 * ThreadPoolExecutor or ForkJoinPool, as the first argument says, at the same work; the second is
 * the number of workers. See threads.py for the questions and answers.
 */
public class Threads {
    static final int DEPTH = 18;

    interface Work {
        void run() throws Exception;
    }

    static AbstractExecutorService pool;

    static AbstractExecutorService pool(String kind, int workers) {
        return switch (kind) {
            case "ForkJoinPool" -> new ForkJoinPool(workers);
            default -> (AbstractExecutorService) Executors.newFixedThreadPool(workers);
        };
    }

    /** Processor time of all threads, the collector's too; the bean's is in steps of 10 ms. */
    static long cpu() throws Exception {
        long sum = 0;
        for (var thread : new File("/proc/self/task").listFiles()) {
            try (var text = new Scanner(new File(thread, "schedstat"))) {
                sum += text.nextLong();
            } catch (FileNotFoundException | NoSuchElementException gone) {
                continue;
            }
        }
        return sum;
    }

    static String measured(double calls, Work work) throws Exception {
        long cpu = cpu();
        long wall = System.nanoTime();
        work.run();
        wall = System.nanoTime() - wall;
        cpu = cpu() - cpu;
        return cpu / calls + " " + wall / calls;
    }

    static void share(int calls) throws Exception {
        var futures = new ArrayList<Future<?>>(calls);
        for (int i = 0; i < calls; i++) {
            futures.add(pool.submit(() -> {}));
        }
        for (var future : futures) {
            future.get();
        }
    }

    static String batch(int calls, int submitters) throws Exception {
        if (submitters == 1) {
            return measured(calls, () -> share(calls));
        }
        return measured(calls, () -> {
            var threads = new Thread[submitters];
            for (int i = 0; i < submitters; i++) {
                threads[i] = new Thread(() -> {
                    try {
                        share(calls / submitters);
                    } catch (Exception e) {
                        throw new RuntimeException(e);
                    }
                });
                threads[i].start();
            }
            for (var thread : threads) {
                thread.join();
            }
        });
    }

    static String fire(int calls) throws Exception {
        var ran = new CountDownLatch(calls);
        return measured(calls, () -> {
            for (int i = 0; i < calls; i++) {
                pool.execute(ran::countDown);
            }
            ran.await();
        });
    }

    static String trips(int trips, long pause) throws Exception {
        var times = new StringBuilder();
        String whole = measured(trips, () -> {
            for (int i = 0; i < trips; i++) {
                if (pause > 0) {
                    LockSupport.parkNanos(pause);
                }
                long start = System.nanoTime();
                pool.submit(() -> {}).get();
                times.append(' ').append(System.nanoTime() - start);
            }
        });
        return whole.split(" ")[0] + times;
    }

    static class Forked extends RecursiveTask<Integer> {
        final int depth;

        Forked(int depth) {
            this.depth = depth;
        }

        @Override
        protected Integer compute() {
            if (depth == 0) {
                return 1;
            }
            var one = new Forked(depth - 1);
            one.fork();
            return new Forked(depth - 1).compute() + one.join();
        }
    }

    static void grow(int depth, CountDownLatch leaves) {
        if (depth == 0) {
            leaves.countDown();
            return;
        }
        pool.execute(() -> grow(depth - 1, leaves));
        pool.execute(() -> grow(depth - 1, leaves));
    }

    /** The one pool waits within calls, for children that were forked; the other cannot. */
    static String tree() throws Exception {
        return measured((2 << DEPTH) - 1, () -> {
            if (pool instanceof ForkJoinPool forkJoin) {
                if (forkJoin.invoke(new Forked(DEPTH)) != 1 << DEPTH) {
                    throw new AssertionError();
                }
                return;
            }
            var leaves = new CountDownLatch(1 << DEPTH);
            pool.execute(() -> grow(DEPTH, leaves));
            leaves.await();
        });
    }

    static String drain(int calls) throws Exception {
        return measured(calls, () -> {
            var ended = new ExecutorCompletionService<Void>(pool);
            for (int i = 0; i < calls; i++) {
                ended.submit(() -> null);
            }
            for (int i = 0; i < calls; i++) {
                ended.take().get();
            }
        });
    }

    static long used() {
        System.gc();
        System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    static String memory(String kind, int calls) throws Exception {
        var one = pool(kind, 1);
        var gate = new CountDownLatch(1);
        one.submit(() -> {
            gate.await();
            return null;
        });
        long before = used();
        var futures = new ArrayList<Future<?>>(calls);
        for (int i = 0; i < calls; i++) {
            futures.add(one.submit(() -> {}));
        }
        double bytes = (double) (used() - before) / calls;
        gate.countDown();
        for (var future : futures) {
            future.get();
        }
        one.shutdown();
        return String.valueOf(bytes);
    }

    public static void main(String[] arguments) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1); // the threads of the pool would keep it alive
        });
        String kind = arguments[0];
        pool = pool(kind, Integer.parseInt(arguments[1]));
        var in = new Scanner(System.in);
        while (in.hasNext()) {
            String name = in.next();
            int calls = in.nextInt();
            int more = in.nextInt();
            System.out.println(switch (name) {
                case "batch" -> batch(calls, more);
                case "fire" -> fire(calls);
                case "trips" -> trips(calls, more);
                case "tree" -> tree();
                case "drain" -> drain(calls);
                case "memory" -> memory(kind, calls);
                default -> throw new IllegalArgumentException(name);
            });
            if (calls >= 100_000) {
                System.gc();
            }
        }
    }
}
