package auth_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/warrenmq/warren/auth"
)

func ExampleRegistry() {
	r := auth.New(auth.Options{})
	if err := r.AddUser("app", "secret", auth.Monitoring); err != nil {
		log.Fatal(err)
	}
	if err := r.SetPermissions(auth.Permission{User: "app", VHost: "/", Configure: "^app\\.", Write: ".*", Read: ".*"}); err != nil {
		log.Fatal(err)
	}
	app, ok := r.Access("app", "/")
	fmt.Println(ok, app.Configure("app.jobs"), app.Configure("jobs"), app.Write("jobs"))

	err := r.SetPermissions(auth.Permission{User: "app", VHost: "/", Configure: "("})
	fmt.Println(errors.Is(err, auth.ErrBadPattern))
	// Output:
	// true true false true
	// true
}
