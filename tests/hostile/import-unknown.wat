;; Wants the network by an interface that this host does not have. | refused: acme:net/raw@1.0.0 (listen, send)
(component
  (import "acme:net/raw@1.0.0" (instance (export "listen" (func)) (export "send" (func))))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
