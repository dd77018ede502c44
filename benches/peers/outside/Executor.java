import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Random;
import java.util.Scanner;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * ScheduledThreadPoolExecutor at the same work; see cpython.py for the questions and answers. It has
 * the real clock only: bulk enters events that are all due soon behind a gate, and opens it then.
 */
public class Executor {
    static final AtomicLong ran = new AtomicLong();
    static final Random random = new Random(20);

    static Runnable action(long one, long zero) {
        return () -> ran.addAndGet(one + zero);
    }

    static ScheduledThreadPoolExecutor pool() {
        var pool = new ScheduledThreadPoolExecutor(1);
        pool.setRemoveOnCancelPolicy(true);
        pool.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        return pool;
    }

    static ScheduledThreadPoolExecutor gated(CountDownLatch gate) {
        var pool = pool();
        pool.execute(() -> {
            try {
                gate.await();
            } catch (InterruptedException e) {
                throw new RuntimeException(e);
            }
        });
        return pool;
    }

    /** Processor time of the threads at work; not that of collector and compiler. */
    static long cpu() {
        var bean = ManagementFactory.getThreadMXBean();
        long sum = 0;
        for (long id : bean.getAllThreadIds()) {
            sum += Math.max(0, bean.getThreadCpuTime(id));
        }
        return sum;
    }

    static String bulk(int count) throws Exception {
        var gate = new CountDownLatch(1);
        var pool = gated(gate);
        long span = 10_000_000L + 2_000L * count;
        long wall = System.nanoTime();
        long cpu = cpu();
        for (int i = 0; i < count; i++) {
            long delay = (long) (random.nextDouble() * span);
            pool.schedule(action(1, 0), delay, TimeUnit.NANOSECONDS);
        }
        wall = System.nanoTime() - wall;
        cpu = cpu() - cpu;
        Thread.sleep(span / 1_000_000 + 1);
        var done = new CountDownLatch(1);
        pool.execute(done::countDown);
        long wall2 = System.nanoTime();
        long cpu2 = cpu();
        gate.countDown();
        done.await();
        wall += System.nanoTime() - wall2;
        cpu += cpu() - cpu2;
        pool.shutdownNow();
        return (double) wall / count + " " + (double) cpu / count;
    }

    static String cancel(int count) {
        var pool = gated(new CountDownLatch(1));
        var events = new ArrayList<ScheduledFuture<?>>(count);
        for (int i = 0; i < count; i++) {
            events.add(pool.schedule(action(1, 0), 3_600_000 + random.nextInt(1 << 24), TimeUnit.MILLISECONDS));
        }
        Collections.shuffle(events, random);
        long wall = System.nanoTime();
        long cpu = cpu();
        for (int i = 0; i < count / 2; i++) {
            events.get(i).cancel(false);
        }
        wall = System.nanoTime() - wall;
        cpu = cpu() - cpu;
        pool.shutdownNow();
        return (double) wall / (count / 2) + " " + (double) cpu / (count / 2);
    }

    static long used() {
        System.gc();
        System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    static String memory(int count) {
        var pool = gated(new CountDownLatch(1));
        long before = used();
        for (int i = 0; i < count; i++) {
            pool.schedule(action(1, 0), 3_600_000 + random.nextInt(1 << 24), TimeUnit.MILLISECONDS);
        }
        double bytes = (double) (used() - before) / count;
        pool.shutdownNow();
        return String.valueOf(bytes);
    }

    static String lateness(int count) throws Exception {
        var pool = pool();
        pool.prestartAllCoreThreads();
        double[] late = new double[count];
        var done = new CountDownLatch(count);
        long cpu = cpu();
        long start = System.nanoTime() + 5_000_000;
        for (int i = 0; i < count; i++) {
            int number = i;
            long due = start + 1_000_000L * i;
            pool.schedule(() -> {
                late[number] = (System.nanoTime() - due) / 1e3;
                done.countDown();
            }, due - System.nanoTime(), TimeUnit.NANOSECONDS);
        }
        done.await();
        cpu = cpu() - cpu;
        pool.shutdownNow();
        var answer = new StringBuilder().append(cpu / 1e3 / count);
        for (double one : late) {
            answer.append(' ').append(one);
        }
        return answer.toString();
    }

    static String earlier() throws Exception {
        var pool = pool();
        pool.schedule(() -> {}, 1, TimeUnit.SECONDS);
        Thread.sleep(5);
        long due = System.nanoTime() + 20_000_000;
        var late = new AtomicLong();
        var done = new CountDownLatch(1);
        pool.schedule(() -> {
            late.set(System.nanoTime() - due);
            done.countDown();
        }, due - System.nanoTime(), TimeUnit.NANOSECONDS);
        done.await();
        pool.shutdownNow();
        return String.valueOf(late.get() / 1e3);
    }

    public static void main(String[] arguments) throws Exception {
        var in = new Scanner(System.in);
        while (in.hasNext()) {
            String name = in.next();
            int count = in.nextInt();
            System.out.println(switch (name) {
                case "bulk" -> bulk(count);
                case "cancel" -> cancel(count);
                case "memory" -> memory(count);
                case "lateness" -> lateness(count);
                case "earlier" -> earlier();
                default -> throw new IllegalArgumentException(name);
            });
            if (count >= 100_000) {
                System.gc();
            }
        }
    }
}
