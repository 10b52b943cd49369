import java.util.*;
import java.util.concurrent.*;

/** What every client of a queue does alike: a thread for each queue, all that is produced before anything is consumed, two lines printed. */
final class Queues {
    interface Whole { void run() throws Exception; }

    interface Part { void run(int queue) throws Exception; }

    /**
     * Runs both and prints two lines: produced SECONDS P50 P99 P99.9 MAX (milliseconds from sending a message to its
     * acknowledgement), and consumed SECONDS. What is produced fills in {@code latencies}, in nanoseconds.
     */
    static void measured(long[] latencies, Whole produce, Whole consume) throws Exception {
        long began = System.nanoTime();
        produce.run();
        double seconds = (System.nanoTime() - began) / 1e9;
        Arrays.sort(latencies);
        System.out.printf(Locale.ROOT, "produced %.3f %.3f %.3f %.3f %.3f%n", seconds, at(latencies, 0.5), at(latencies, 0.99), at(latencies, 0.999), at(latencies, 1));
        began = System.nanoTime();
        consume.run();
        System.out.printf(Locale.ROOT, "consumed %.3f%n", (System.nanoTime() - began) / 1e9);
    }

    static void each(int queues, Part part) throws Exception {
        var threads = Executors.newFixedThreadPool(queues);
        var parts = new ArrayList<Future<?>>();
        for (int q = 0; q < queues; q++) {
            int queue = q;
            parts.add(threads.submit(() -> { part.run(queue); return null; }));
        }
        for (var one : parts) one.get();
        threads.shutdown();
    }

    private static double at(long[] sorted, double quantile) {
        return sorted[(int) Math.min(sorted.length - 1, Math.ceil(quantile * sorted.length) - 1)] / 1e6;
    }
}
