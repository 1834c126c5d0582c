// A static program that shows what it sees of the pod that it runs in.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func api(w http.ResponseWriter) {
	c, err := net.Dial("tcp", net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")))
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	fmt.Fprint(c, "ping")
	c.(*net.TCPConn).CloseWrite()
	io.Copy(w, c)
}

func main() {
	fmt.Println("hello from", os.Args[1])
	http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exit":
			os.Exit(3)
		case "/api":
			api(w)
		case "/outside":
			_, err := net.Dial("tcp", r.URL.RawQuery)
			fmt.Fprint(w, err)
		case "/write":
			fmt.Fprint(w, os.WriteFile(r.URL.RawQuery, []byte("x"), 0o600))
		default:
			data, err := os.ReadFile(r.URL.Path)
			if err != nil {
				http.Error(w, err.Error(), 404)
				return
			}
			w.Write(data)
		}
	}))
}
