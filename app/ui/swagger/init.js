// Starts Swagger UI for the schema that the script tag names. A file of its own, so that the page needs no inline script.
"use strict";

const schema = document.currentScript.dataset.schema;

window.ui = SwaggerUIBundle({
  url: new URL(schema, document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
