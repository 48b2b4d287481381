// A service that seals texts: GET /seal/TEXT. `service ask PATH` asks the one that runs: there is no other program in its image.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"example.com/go-service/seal"
)

var sealed = promauto.NewCounter(prometheus.CounterOpts{Name: "texts_sealed_total", Help: "How many texts were sealed."})

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if len(os.Args) == 3 && os.Args[1] == "ask" {
		answer, err := http.Get("http://127.0.0.1:" + port + os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
			log.Fatal(err)
		}
		return
	}
	logger, err := zap.NewProduction()
	if err != nil {
		log.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/seal/:text", func(c *gin.Context) {
		sealed.Inc()
		c.JSON(http.StatusOK, gin.H{"text": c.Param("text"), "seal": seal.Of(c.Param("text"))})
	})
	router.GET("/metrics", gin.WrapH(promhttp.Handler()))

	server := &http.Server{Addr: ":" + port, Handler: router}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	go func() {
		<-stop.Done()
		_ = server.Shutdown(context.Background())
	}()
	logger.Info("listening", zap.String("port", port))
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		logger.Fatal("the server ended", zap.Error(err))
	}
}
