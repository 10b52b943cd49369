import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in this JVM. Each line of standard input is a class and its arguments,
 * separated by tabs; what the tool prints follows on standard output, then a line of \1 and the status it would have ended with.
 */
public final class ToolShell {
    /** Thrown in the place of the end of the process. */
    static final class Exited extends Error {
        Exited() { super("exited", null, false, false); }
    }

    static volatile int status;
    static volatile boolean exited;

    public static void main(String[] unused) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var output = System.out;
        Exit.setExitProcedure((code, message) -> exit(code, message));
        Exit.setHaltProcedure((code, message) -> exit(code, message));
        Exit.setShutdownHookAdder((name, runnable) -> { });
        for (String line; (line = input.readLine()) != null; ) {
            var words = line.split("\t", -1);
            var printed = new ByteArrayOutputStream();
            var print = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(print);
            System.setErr(print);
            status = 0;
            exited = false;
            try {
                Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
            } catch (Throwable thrown) {
                if (!exited) {
                    status = 1;
                    thrown.printStackTrace(print);
                }
            }
            print.flush();
            output.write(printed.toByteArray());
            if (printed.size() > 0 && printed.toByteArray()[printed.size() - 1] != '\n') output.write('\n');
            output.println("\1" + status);
            output.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void exit(int code, String message) {
        if (!exited) {
            exited = true;
            status = code;
            if (message != null) System.err.println(message);
        }
        throw new Exited();
    }
}
