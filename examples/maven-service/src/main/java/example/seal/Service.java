package example.seal;

import io.javalin.Javalin;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Answers with the seal of a text, or asks a running service for one. */
public final class Service {
    private static final int PORT = 8080;

    private Service() {}

    static Javalin service() {
        return Javalin.create(config -> config.showJavalinBanner = false)
                .get("/seal/{text}", asked -> asked.json(Seal.of(asked.pathParam("text"))));
    }

    public static void main(String[] words) throws Exception {
        if (words.length == 2 && words[0].equals("ask")) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + PORT + words[1])).build();
            System.out.println(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body());
            return;
        }
        service().start(PORT);
    }
}
