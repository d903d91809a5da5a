;; Wants the host to give it a core module. | refused: what this host does not have
(component
  (import "other" (core module))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
